"""The interface of all models: what training, inference and evaluation use, and the tokenizer and sampler they need.

Two kinds of models implement it. models/vilam/ composes a vision tower, an alignment layer and a language model.
models/hf/ wraps whole vision-language models of transformers.

Shapes: B images or rows, L tokens of a row, N answer tokens, V tokens of the vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from PIL import Image
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput

from vilam.models.coordinate_formats import CoordinateFormat, Frame
from vilam.models.losses import Policy

ImageBatch = Any
"""Images as `GroundingModel.preprocess` returns them; they have a length and are indexed with a list of numbers."""

PARTS = ("vision", "aligner", "language")
"""The parts of a model that can be frozen."""


@dataclass
class GroundingOutput(ModelOutput):  # type: ignore[misc]
    """loss: a scalar, None without labels. logits: (N, V) of the answer tokens, in row-major order."""

    loss: Tensor | None = None
    logits: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and the token ids of its answer."""

    question: str
    answer: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Packed:
    """Tensors that a model takes by name, and the labels (B, L): the ids of answer tokens, IGNORED elsewhere.

    In row-major order the labels are the tokens of the answers, one turn after the other.
    """

    inputs: dict[str, Tensor]
    labels: Tensor

    def to(self, device: torch.device | str) -> Packed:
        """The same on another device."""
        return Packed({name: value.to(device) for name, value in self.inputs.items()}, self.labels.to(device))


@dataclass(frozen=True, slots=True)
class SoftAnswers:
    """First legs of the cycle, packed as (B, L1) input_ids and segments, and the M of their tokens to soften.

    source (M, 2): row and column of each such token; target (M, 2): its row and column in the second legs' ids.
    """

    input_ids: Tensor
    segments: Tensor
    source: Tensor
    target: Tensor

    def to(self, device: torch.device | str) -> SoftAnswers:
        """The same on another device."""
        return SoftAnswers(*(getattr(self, name).to(device, non_blocking=True) for name in self.__slots__))

    def pin_memory(self) -> SoftAnswers:
        """The same in memory that a GPU reads by itself."""
        return SoftAnswers(*(getattr(self, name).pin_memory() for name in self.__slots__))


class Tokens(Protocol):
    """Text to token ids and back, as a model writes it; coordinates depend on the image's frame.

    tokenizer: the one of transformers. bins, first_coordinate: of coordinates that are one token each, the bins of a
    side and the id of the first added token; None if a coordinate is text. answer_start: the tokens with which every
    answer begins, such as a decoder's own first one.
    """

    pad_id: int
    eos_id: int
    tokenizer: Any
    bins: int | None
    first_coordinate: int | None
    coordinate_format: CoordinateFormat
    answer_start: tuple[int, ...]

    def encode(self, text: str) -> list[int]:
        """Ids of a text that begins an answer."""
        ...

    def encode_words(self, text: str) -> Sequence[int]:
        """Ids of a text without coordinates that continues another text."""
        ...

    def add_answer_prefix(self, answer: str) -> str:
        """An answer as it follows a question."""
        ...

    def encode_answer(self, answer: str, frame: Frame | None = None) -> list[int]:
        """Ids of an answer with coordinates 0-1000 of the image, and of the end of the sequence."""
        ...

    def decode_answer(self, ids: Sequence[int], frame: Frame | None = None) -> str:
        """The answer as text, with coordinates 0-1000 of the image."""
        ...


class Sampler(Protocol):
    """Chooses the next tokens of several answers; ``alive`` has the numbers of those that have not ended."""

    alive: list[int]

    def begin(self) -> list[list[int]]:
        """The tokens with which each answer must begin; `choose` is not called for them."""
        ...

    def choose(self, rows: Sequence[int], logits: Tensor) -> tuple[Tensor, list[int]]:
        """From logits (R, V) of these answers, all alive: their tokens (R,), and which of the R rows continue.

        An answer that could only go on in one way to its end has ended.
        """
        ...

    def forced(self, rows: Sequence[int]) -> list[list[int]]:
        """The tokens with which each of these answers, all alive, must go on; `choose` is not called for them."""
        ...


class GroundingModel(nn.Module, ABC):
    """A model that answers questions about images."""

    if TYPE_CHECKING:  # torch declares a submodule as a tensor or a module, and transformers' modules are not typed

        def __getattr__(self, name: str) -> Any:
            """Any submodule or buffer."""

    uses_gradient_checkpointing = False

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @abstractmethod
    def preprocess(self, images: Sequence[bytes | Image.Image]) -> ImageBatch:
        """Encoded files or images of any size, as the model takes them, on the CPU."""

    @abstractmethod
    def frames(self, images: ImageBatch) -> Sequence[Frame]:
        """The frame of each image, in which the coordinates of its answers are counted."""

    @abstractmethod
    def pack(self, tokenizer: Any, images: ImageBatch, rows: Sequence[Sequence[Turn]]) -> Packed:
        """The tensors of the turns about each image."""

    @abstractmethod
    def forward(
        self,
        *,
        labels: Tensor | None = None,
        weights: Tensor | None = None,
        totals: Tensor | None = None,
        coordinate_sigma: float = 0.0,
        pointing_weight: float = 0.0,
        policy: Policy | None = None,
        kl: float = 0.0,
        soft_answers: SoftAnswers | None = None,
        **inputs: Tensor,
    ) -> GroundingOutput:
        """The logits of the answer tokens, and their loss.

        Args:
            labels: (B, L) from `pack`: ids of the answer tokens, IGNORED elsewhere.
            weights: (B, L) float, the weight of each label's loss; None: 1 each.
            totals: (2,) the divisors of the weighted sums of the token losses and of the pointing losses; None: those
                of this batch (`loss_totals`).
            coordinate_sigma: width of the soft targets of coordinate tokens in bins (`losses.token_losses`).
            pointing_weight: weight of the pointing loss, one term per box of an answer.
            policy: of sampled tokens, whose loss is `losses.policy_losses` instead of the cross-entropy.
            kl: weight of the distance to the reference in the policy loss.
            soft_answers: first legs of the cycle, whose answers are soft tokens of the text.
            inputs: the tensors of `Packed`, by name.

        Returns:
            logits (N, V) of the N labelled tokens in row-major order, and the scalar loss.
        """

    @abstractmethod
    def generate(
        self, tokenizer: Any, images: ImageBatch, questions: Sequence[tuple[int, str]], sampler: Sampler
    ) -> None:
        """Answers (number of the image, question) pairs token by token; ``sampler`` chooses and keeps the tokens."""

    @abstractmethod
    def loss_totals(self, labels: Tensor, weights: Tensor, policy: Policy | None = None) -> Tensor:
        """Summed weights (2,) of the answers' tokens and of their boxes: the divisors of the two sums of a loss."""

    def with_defaults(
        self, labels: Tensor, weights: Tensor | None, totals: Tensor | None, policy: Policy | None
    ) -> tuple[Tensor, Tensor]:
        """The weights (B, L) and the totals (2,) of a loss; if not given, 1 each and the totals of this batch."""
        if weights is None:
            weights = torch.ones_like(labels, dtype=torch.float32)
        return weights, self.loss_totals(labels, weights, policy) if totals is None else totals

    @abstractmethod
    def new_like(self) -> GroundingModel:
        """A model of the same shape with random weights of its own."""

    @abstractmethod
    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The weights of each of PARTS."""

    @abstractmethod
    def origin(self, part: str) -> dict[str, str]:
        """The source of a part's pretrained weights; empty if it was trained from scratch."""

    @abstractmethod
    def summary(self) -> str:
        """How the model represents images and coordinates, in a sentence for the model card."""

    @abstractmethod
    def freeze(self) -> None:
        """Stops the gradient of the parts that are not trained."""

    @abstractmethod
    def frozen_modules(self) -> Iterable[nn.Module]:
        """The modules of the frozen parts; adapters beside their layers may be among them."""

    def train(self, mode: bool = True) -> Self:
        """Frozen parts are never in training mode: their dropout and their statistics stay off.

        With gradient checkpointing their layers are, because transformers checkpoints in training mode only.
        """
        super().train(mode)
        for module in self.frozen_modules():
            is_checkpointed = self.uses_gradient_checkpointing and isinstance(module, GradientCheckpointingLayer)
            module.training = mode and is_checkpointed
        return self

    @torch.no_grad()
    def cast_frozen(self, dtype: torch.dtype) -> None:
        """Stores frozen matrices in ``dtype``, in which they are multiplied, and all other floats in float32."""
        for parameter in filter(torch.is_floating_point, self.parameters()):  # weights of 4 bits are not floats
            is_frozen = parameter.dim() > 1 and not parameter.requires_grad
            parameter.data = parameter.data.to(dtype if is_frozen else torch.float32)

    def enable_gradient_checkpointing(self) -> None:
        """Computes the layers' activations again in the backward pass, which saves memory and costs time.

        Subclasses also enable transformers' own. Frozen layers then run in training mode, so their dropout is set to 0.
        """
        self.uses_gradient_checkpointing = True
        for module in self.frozen_modules():
            if isinstance(module, GradientCheckpointingLayer):
                for name, value in vars(module).items():
                    if "dropout" in name and isinstance(value, float):
                        setattr(module, name, 0.0)
