"""The composed model as training, inference and evaluation use it, and as transformers opens its folders."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

from vilam.models.backbones.adapters import freeze_all_but_adapters, set_adapters_training
from vilam.models.backbones.images import load_pixels
from vilam.models.coordinate_formats import BOX, Frame
from vilam.models.interface import (
    PARTS,
    GroundingModel,
    GroundingOutput,
    Packed,
    Sampler,
    SoftAnswers,
    Turn,
)
from vilam.models.losses import IGNORED, Policy, answers_loss
from vilam.models.packing import by_length, packed
from vilam.models.vilam.config import VilamConfig, register_backbones
from vilam.models.vilam.core import VilamModel
from vilam.models.vilam.decoding import Decoding
from vilam.models.vilam.grounder import BOX_TOKENS, patch_weights
from vilam.models.vilam.text import PackedText
from vilam.models.vilam.tokenization import GroundingTokenizer
from vilam.tasks.answers import SCALE


class VilamForConditionalGeneration(VilamModel, GroundingModel):
    """One model for REC and REG, with a loss and with generation.

    Shapes: B images, P image tokens, L text tokens, N answer tokens, H hidden size, V words and coordinate tokens.
    """

    def __init__(self, config: VilamConfig) -> None:
        super().__init__(config)
        self.freeze()

    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        segments: Tensor | None = None,
        labels: Tensor | None = None,
        weights: Tensor | None = None,
        totals: Tensor | None = None,
        coordinate_sigma: float = 0.0,
        pointing_weight: float = 0.0,
        policy: Policy | None = None,
        kl: float = 0.0,
        soft_answers: SoftAnswers | None = None,
        **kwargs: Any,
    ) -> GroundingOutput:
        """The logits of the answer tokens of packed instructions, and their loss.

        pixel_values (B, 3, S, S); input_ids, segments (B, L): see `PackedText`; the rest as in `GroundingModel`. The
        loss is the weighted sum of the token losses over the first of ``totals``, plus ``pointing_weight`` times the
        weighted sum of the pointing losses (one per box of an answer) over the second. Without labels there is no loss,
        and the logits are those of all text tokens, (B L, V).
        """
        assert pixel_values is not None and input_ids is not None and segments is not None
        prefix = self.encode_images(pixel_values)  # vision tower, alignment layer: (B, P, H)
        soft = None if soft_answers is None else self.soften(prefix, soft_answers)
        text = PackedText(input_ids, segments, soft)
        hidden, pointed = self.read(prefix, text)  # language model, grounder: (B, L, H), (B, L, P)
        if labels is None:
            return GroundingOutput(logits=self.score(hidden.flatten(0, 1)))  # (B L, V)
        # The state before a token predicts it. Each row begins with a question, so its first token needs no state.
        answered = nn.functional.pad(labels[:, 1:] != IGNORED, (1, 0))  # (B, L)
        logits = self.score(hidden[:, :-1][answered[:, 1:]])  # heads of words and coordinates: (N, V)
        weights, totals = self.with_defaults(labels, weights, totals, policy)
        loss = answers_loss(logits, answered, labels, weights, self.config, coordinate_sigma, policy, kl) / totals[0]
        if pointed is not None:
            starts = self._answer_boxes(labels, policy)
            pointing = self._pointing_loss(pointed, PackedText(input_ids, segments), weights, starts)
            loss = loss + pointing_weight * pointing / totals[1].clamp_min(1e-6)  # 0 if no answer has a box
        return GroundingOutput(loss=loss, logits=logits)

    def _pointing_loss(self, pointed: Tensor, text: PackedText, weights: Tensor, starts: Tensor) -> Tensor:
        """Weighted sum of the cross-entropies between the boxes that start at ``starts`` (B, L) and pointing."""
        rows, marks = starts.nonzero(as_tuple=True)
        boxes, _ = self.boxes(text)
        targets = patch_weights(boxes[rows, marks + BOX_TOKENS - 1], pointed.shape[-1])
        return -((targets * pointed[rows, marks]).sum(-1) * weights[rows, marks]).sum()

    def _answer_boxes(self, labels: Tensor, policy: Policy | None) -> Tensor:
        """Whether the true box of an answer starts at a token (B, L); a sampled box is not true."""
        if self.config.first_coordinate is None:
            return torch.zeros_like(labels, dtype=torch.bool)
        starts: Tensor = labels == self.config.first_coordinate + BOX
        return starts if policy is None else starts & ~policy.sampled

    def loss_totals(self, labels: Tensor, weights: Tensor, policy: Policy | None = None) -> Tensor:
        """Summed weights (2,) of the answers' tokens and of their boxes: the divisors of the two sums of a loss."""
        return torch.stack([weights[labels != IGNORED].sum(), weights[self._answer_boxes(labels, policy)].sum()])

    def preprocess(self, images: Sequence[bytes | Image.Image]) -> Tensor:
        """Normalised pixels (B, 3, S, S)."""
        return load_pixels(images, self.config)

    def frames(self, images: Tensor) -> list[Frame]:
        """Coordinates are thousandths of the image's own sides."""
        return [Frame.filled(SCALE, SCALE)] * len(images)

    def pack(self, tokenizer: GroundingTokenizer, images: Tensor, rows: Sequence[Sequence[Turn]]) -> Packed:
        """All turns about an image behind one image prefix: ``pixel_values``, ``input_ids``, ``segments``."""
        pairs = [[(tokenizer.encode_question(turn.question), list(turn.answer)) for turn in row] for row in rows]
        ids, segments, labels = packed(pairs, tokenizer.pad_id)
        return Packed({"pixel_values": images, "input_ids": ids, "segments": segments}, labels)

    def generate(
        self, tokenizer: GroundingTokenizer, images: Tensor, questions: Sequence[tuple[int, str]], sampler: Sampler
    ) -> None:
        """Answers with one image prefix for all questions about an image; finished rows leave the key-value cache."""
        begun = sampler.begin()
        if not sampler.alive:
            return
        rows = {i: (questions[i][0], [*tokenizer.encode_question(questions[i][1]), *begun[i]]) for i in sampler.alive}
        for alive in self._groups(rows):
            decoding = Decoding(self, images, [rows[i] for i in alive], tokenizer.pad_id)
            while True:
                chosen, keep = sampler.choose(alive, decoding.logits)
                if not keep:
                    break
                decoding.advance(chosen, keep)
                alive = [alive[row] for row in keep]

    def _groups(self, rows: Mapping[int, tuple[int, Sequence[int]]]) -> list[list[int]]:
        """The answers that are decoded together: texts of one length each if padding before them would be read."""
        if self.config.sharing == "mask":
            return [[*rows]]
        numbers = [*rows]
        return [[numbers[i] for i in group] for group in by_length([ids for _, ids in rows.values()])]

    def freeze(self) -> None:
        """Stops the gradient of the parts that the config says are frozen, but not that of adapters."""
        for part in self.config.frozen:
            getattr(self, part).requires_grad_(False)
        if self.config.lora is not None:
            freeze_all_but_adapters(self.language)

    def frozen_modules(self) -> Iterator[nn.Module]:
        """The modules of the frozen parts."""
        for part in self.config.frozen:
            yield from getattr(self, part).modules()

    def train(self, mode: bool = True) -> VilamForConditionalGeneration:
        """Adapters are in training mode although the layers beside them are frozen."""
        super().train(mode)
        if self.config.lora is not None:
            set_adapters_training(self.language, mode)
        return self

    def enable_gradient_checkpointing(self) -> None:
        """Computes the layers' activations again in the backward pass."""
        self.activation_checkpointing_enable()
        super().enable_gradient_checkpointing()

    def new_like(self) -> VilamForConditionalGeneration:
        """A model of the same shape with random weights."""
        return VilamForConditionalGeneration(copy.deepcopy(self.config))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The weights of each part, without those of coordinates and pointing."""
        return {part: list(getattr(self, part).parameters()) for part in PARTS}

    def origin(self, part: str) -> dict[str, str]:
        """The source of a part's pretrained weights."""
        return dict(self.config.origins.get(part, {}))

    def summary(self) -> str:
        """How images and coordinates are represented, for the model card."""
        bins, size = self.config.coordinate_bins, self.config.image_size
        form = "in digits" if bins is None else f"one token for each of {bins} bins"
        return f"Images are resized to squares of {size} pixels; coordinates are 0-1000 of a side, {form}."


def register_auto_classes() -> None:
    """Lets AutoConfig, AutoModel and AutoModelForImageTextToText open vilam's folders."""
    register_backbones()
    AutoConfig.register("vilam", VilamConfig, exist_ok=True)
    for auto_class in (AutoModel, AutoModelForImageTextToText):
        auto_class.register(VilamConfig, VilamForConditionalGeneration, exist_ok=True)
