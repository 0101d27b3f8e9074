"""What every family of models gives to training, inference and evaluation; each family is a file beside this one.

vilam.py: a vision tower, an alignment layer and a language model, joined here. stock.py: whole vision-language models
of transformers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from PIL import Image
from torch import Tensor, nn

from vilam.models.conventions import Convention, Frame
from vilam.models.losses import Policy
from vilam.models.recomputing import drop_nothing, recomputes

Pictures = Any
"""Some pictures as a family's models see them; ``len`` and indexing with a list of numbers work as for tensors."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and the token ids of its answer."""

    question: str
    answer: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Packed:
    """Tensors that a model takes by name, and the ids that its answers should be: (B, L), IGNORED elsewhere.

    In row-major order the labels are the tokens of the answers, one exchange after the other.
    """

    inputs: dict[str, Tensor]
    labels: Tensor

    def to(self, device: torch.device | str) -> Packed:
        """The same on another device."""
        return Packed({name: value.to(device) for name, value in self.inputs.items()}, self.labels.to(device))


class Tokens(Protocol):
    """Text to token ids and back, as a family's models write it; places depend on the picture's frame."""

    pad_id: int
    eos_id: int
    tokenizer: Any
    bins: int | None
    first_coordinate: int | None
    convention: Convention

    def encode(self, text: str) -> list[int]:
        """Ids of a text without places."""
        ...

    def encode_words(self, text: str) -> Sequence[int]:
        """Ids of a text without places, as it stands in the middle of another."""
        ...

    def lead_in(self, answer: str) -> str:
        """An answer as it stands behind a question."""
        ...

    def encode_answer(self, answer: str, frame: Frame | None = None) -> list[int]:
        """Ids of an answer, and the end of the sequence."""
        ...

    def decode_answer(self, ids: Sequence[int], frame: Frame | None = None) -> str:
        """The answer that a person reads, coordinates 0-1000."""
        ...


class Chooser(Protocol):
    """Chooses the next token of several answers; ``alive`` numbers those that go on."""

    alive: list[int]

    def begin(self) -> list[list[int]]:
        """What the answers must begin with, of all of them; these tokens are taken and not asked for again."""
        ...

    def choose(self, rows: Sequence[int], logits: Tensor) -> tuple[Tensor, list[int]]:
        """From logits (R, tokens) of these answers, all alive: their tokens (R,), and which of the R go on."""
        ...


class GroundingModel(nn.Module, ABC):
    """A model that answers questions about pictures."""

    if TYPE_CHECKING:  # torch tells of a submodule that it is a tensor or a module; transformers' are not typed

        def __getattr__(self, name: str) -> Any:
            """Any submodule or buffer."""

    @abstractmethod
    def see(self, images: Sequence[bytes | Image.Image]) -> Pictures:
        """Encoded files or pictures of any size, as the model takes them, on its device."""

    @abstractmethod
    def frames(self, pictures: Pictures) -> Sequence[Frame]:
        """What the places in each picture's answers are counted in."""

    @abstractmethod
    def pack(self, tokenizer: Any, pictures: Pictures, rows: Sequence[Sequence[Exchange]]) -> Packed:
        """Tensors of what is asked and answered about each of the pictures."""

    @abstractmethod
    def speak(self, tokenizer: Any, pictures: Pictures, asked: Sequence[tuple[int, str]], chooser: Chooser) -> None:
        """Let ``chooser`` choose the answers to (number of the picture, question), token by token."""

    @abstractmethod
    def loss_totals(self, labels: Tensor, weights: Tensor, policy: Policy | None = None) -> Tensor:
        """Summed weights (2,) of the answers' tokens and of their boxes: what the sums of a loss are divided by."""

    def weighed(
        self, labels: Tensor, weights: Tensor | None, totals: Tensor | None, policy: Policy | None
    ) -> tuple[Tensor, Tensor]:
        """What is given of the weights (B, L) and the totals (2,) of a loss; else 1, and this batch's own."""
        if weights is None:
            weights = torch.ones_like(labels, dtype=torch.float32)
        return weights, self.loss_totals(labels, weights, policy) if totals is None else totals

    @abstractmethod
    def twin(self) -> GroundingModel:
        """A model of the same shape with weights of its own."""

    @abstractmethod
    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The weights of each part: vision, aligner, language."""

    @abstractmethod
    def origin(self, part: str) -> dict[str, str]:
        """Where the weights that a part started from are from; empty where from nothing."""

    @abstractmethod
    def manner(self) -> str:
        """How pictures are seen and places written, in a sentence for the model card."""

    @abstractmethod
    def freeze(self) -> None:
        """Stop the gradient of the parts that are not trained."""

    recomputes = False
    """Whether layers compute again on the way back what they would have to remember."""

    @abstractmethod
    def frozen_modules(self) -> Iterable[nn.Module]:
        """The modules of the parts that are not trained; adapters beside their layers may be among them."""

    def train(self, mode: bool = True) -> Self:
        """Frozen parts are never in training mode: their dropout and their statistics stay off."""
        super().train(mode)
        for module in self.frozen_modules():
            module.training = mode and self.recomputes and recomputes(module)
        return self

    @torch.no_grad()
    def settle(self, dtype: torch.dtype) -> None:
        """Hold the matrices that are not trained in ``dtype``, in which they are multiplied; all else in float32."""
        for parameter in filter(torch.is_floating_point, self.parameters()):  # those of 4 bits stay as they are
            is_frozen = parameter.dim() > 1 and not parameter.requires_grad
            parameter.data = parameter.data.to(dtype if is_frozen else torch.float32)

    def recompute(self) -> None:
        """Let layers compute again on the way back what they would have to remember."""
        self.recomputes = True
        for module in filter(recomputes, self.frozen_modules()):
            drop_nothing(module)
