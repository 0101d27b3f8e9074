"""Hugging Face VLMs: whole vision-language models of transformers, as they are published.

A question is in the model's prompt (its chat template), and an answer in the model's coordinate format
(configs/conventions). Questions about a picture share it, or what the vision tower makes of it, where that is proven to
change nothing (``sharing`` of the convention); otherwise each is a row of its own. Model and processor are those of
transformers, so a model that is trained here opens there.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoModelForImageTextToText,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from vilam.models.backbones.adapters import add_adapters, freeze_all_but_adapters, set_adapters_training
from vilam.models.backbones.images import open_image
from vilam.models.coordinate_formats import Frame
from vilam.models.forking import ignores_padding, new_cache
from vilam.models.hf.architectures import Architecture, architecture_of
from vilam.models.hf.mended import mend
from vilam.models.hf.rows import batched, forked, padded, with_answer
from vilam.models.hf.sharing import Reading, decode, groups, read_masked
from vilam.models.hf.tokenizer import HFTokenizer, Prompt
from vilam.models.hf.towers import PICTURES, batched_once, output_of_rows
from vilam.models.interface import PARTS, GroundingModel, GroundingOutput, Packed, Sampler, SoftAnswers, Turn
from vilam.models.losses import IGNORED, Policy, answers_loss
from vilam.models.packing import by_length, packed

logger = logging.getLogger(__name__)

ONE_TYPE = {"smolvlm"}
"""Models that give an image's features the type of their first matrix; the words must have the same."""
LONGEST_ANSWER = 4096
"""The limit of generation in tokens; grammars end answers long before."""


@dataclass(frozen=True, slots=True)
class HFImages:
    """RGB images and their frames; the processor takes an image together with a text."""

    images: tuple[Image.Image, ...]
    frames: tuple[Frame, ...]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    def __getitem__(self, numbers: Sequence[int]) -> HFImages:
        """Some of the images, by their numbers."""
        return HFImages(tuple(self.images[i] for i in numbers), tuple(self.frames[i] for i in numbers))


class HFModel(GroundingModel):
    """A vision-language model of transformers, ``vlm``. ``processor`` is used for the frames of images only.

    frozen: parts that are not trained. lora: adapters of a frozen language model. origins: sources of the weights.
    architecture: None: by the conventions.
    Shapes: R rows (turns), L tokens of a row, N answer tokens, V tokens of the vocabulary.
    """

    def __init__(
        self,
        vlm: Any,
        processor: Any,
        frozen: Sequence[str] = (),
        lora: dict[str, Any] | None = None,
        origins: dict[str, dict[str, str]] | None = None,
        architecture: Architecture | None = None,
    ) -> None:
        super().__init__()
        self.vlm = vlm
        mend(vlm)
        self.processor = processor
        self.architecture = architecture or architecture_of(vlm.config.model_type)
        self.frozen = list(frozen)
        self.lora = lora
        self.origins = origins or {}
        if lora is not None:
            # Word embeddings and head get no adapters, because the two are often one matrix.
            ends = {id(end.weight) for end in (vlm.get_input_embeddings(), vlm.get_output_embeddings()) if end}
            words = {name for name, module in vlm.named_modules() if id(getattr(module, "weight", None)) in ends}
            add_adapters(vlm, lora, lambda name: self.architecture.part(name) == "language" and name not in words)
        self.freeze()

    @property
    def config(self) -> Any:
        """The config of transformers."""
        return self.vlm.config

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder reads the question and a decoder writes the answer."""
        return bool(self.config.get_text_config().is_encoder_decoder)

    @property
    def sharing(self) -> Literal["rows", "tower", "fork", "mask"]:
        """How packed questions share their picture: not, its tower, by a forked cache, or in one sequence with a mask.

        Gradient checkpointing keeps no cache.
        """
        if self.architecture.convention.sharing != "fork" or not self.uses_gradient_checkpointing:
            return self.architecture.convention.sharing
        return "mask" if ignores_padding(new_cache(self.config.get_text_config())) else "rows"

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
        """The logits of the answer tokens and their loss, as in `GroundingModel`; labels are required.

        Coordinates have no tokens of vilam's: ``coordinate_sigma`` and ``pointing_weight`` change nothing.
        """
        assert labels is not None, "a Hugging Face VLM returns the logits of answers only"
        assert soft_answers is None, "only composed models take soft answers"
        answered = labels != IGNORED  # (R, L)
        if "tails" in inputs and "segments" not in inputs:
            logits = self._read_tails(inputs, answered)  # (N, V)
        elif "segments" in inputs:
            heads = {name: value for name, value in inputs.items() if name not in ("tails", "segments")}
            logits = read_masked(self.vlm, heads, inputs["tails"], inputs["segments"])[:, :-1][answered[:, 1:]]
        elif self.has_encoder:
            start = self.config.get_text_config().decoder_start_token_id
            before = torch.cat([labels.new_full((len(labels), 1), start), labels[:, :-1]], dim=1)
            decoded = before.masked_fill(before == IGNORED, start)
            with self._tower_of_rows(inputs):
                logits = self.vlm(**inputs, decoder_input_ids=decoded, use_cache=False).logits[answered]  # (N, V)
        else:
            # The state before a token predicts it. Each row begins with a question.
            with self._tower_of_rows(inputs):
                logits = self.vlm(**inputs, use_cache=False).logits[:, :-1][answered[:, 1:]]  # (N, V)
        weights, totals = self.with_defaults(labels, weights, totals, policy)
        loss = answers_loss(logits, answered, labels, weights, None, 0.0, policy, kl) / totals[0]
        return GroundingOutput(loss=loss, logits=logits)

    def _tower_of_rows(self, inputs: dict[str, Tensor]) -> AbstractContextManager[None]:
        """A context in which the tower's output has a row for each question; takes the pictures from the inputs."""
        pictures = inputs.pop(PICTURES, None)
        if pictures is None:
            return nullcontext()
        return output_of_rows(self.vlm.get_submodule(self.architecture.convention.vision[0]), pictures)

    def _read_tails(self, inputs: dict[str, Tensor], answered: Tensor) -> Tensor:
        """The logits (N, V) of the answer tokens (R, L) of questions that share their pictures."""
        heads = {name: value for name, value in inputs.items() if name not in ("tails", "pictures")}
        reading = Reading(self.vlm, heads, inputs["pictures"])
        first = int(answered.nonzero()[:, 1].min())
        kept = answered.shape[1] - first + 1  # padding follows the text, which never sees it
        logits = reading.read(inputs["tails"], torch.ones_like(inputs["tails"]), kept)
        return logits[:, :-1][answered[:, first:]]

    def loss_totals(self, labels: Tensor, weights: Tensor, policy: Policy | None = None) -> Tensor:
        """Summed weights (2,) of the answers' tokens, and 0: there is no pointing loss."""
        return torch.stack([weights[labels != IGNORED].sum(), weights.new_zeros(())])

    def preprocess(self, images: Sequence[bytes | Image.Image]) -> HFImages:
        """The images as RGB, with their frames; raises VilamError for a size that the processor refuses."""
        opened = tuple(map(open_image, images))
        return HFImages(opened, tuple(self.architecture.frame(self.processor, *image.size) for image in opened))

    def frames(self, images: HFImages) -> Sequence[Frame]:
        """The frame of each image, in which the model's coordinates are counted."""
        return images.frames

    def pack(self, tokenizer: HFTokenizer, images: HFImages, rows: Sequence[Sequence[Turn]]) -> Packed:
        """A row for each turn, padded on the right: all of it, or its tail behind the head that its picture has.

        Or one for each picture, with the tails of all turns.
        """
        questions = [(image, turn.question) for image, turns in enumerate(rows) for turn in turns]
        answers = [list(turn.answer) for turns in rows for turn in turns]
        if self.sharing in ("fork", "mask"):
            heads, pictures, tails = _shared(tokenizer, images, questions)
            pairs = list(zip(tails, answers, strict=True))
            if self.sharing == "mask":
                return _in_one_sequence(batched(heads, tokenizer.pad_id, "left"), pictures, pairs, tokenizer.pad_id)
            labels = padded([[IGNORED] * len(tail) + answer for tail, answer in pairs], IGNORED, "right")
            ids = padded([tail + answer for tail, answer in pairs], tokenizer.pad_id, "right")
            return Packed({**batched(heads, tokenizer.pad_id, "left"), "tails": ids, "pictures": pictures}, labels)
        prompts = _prompts(tokenizer, images, questions)
        if self.has_encoder:
            return Packed(self._batched(prompts, questions, tokenizer, "right"), padded(answers, IGNORED, "right"))
        answered = [with_answer(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        rows_of_labels = [
            [IGNORED] * prompt["input_ids"].shape[1] + answer for prompt, answer in zip(prompts, answers, strict=True)
        ]
        inputs = self._batched(answered, questions, tokenizer, "right")
        return Packed(inputs, padded(rows_of_labels, IGNORED, "right"))

    def _batched(
        self, prompts: Sequence[Prompt], questions: Sequence[tuple[int, str]], tokenizer: HFTokenizer, side: str
    ) -> Prompt:
        """Rows of questions as one batch, with each picture once if its tower may run once."""
        if self.sharing == "tower":
            return batched_once(prompts, [image for image, _ in questions], tokenizer.pad_id, side)
        return batched(prompts, tokenizer.pad_id, side)

    def generate(
        self, tokenizer: HFTokenizer, images: HFImages, questions: Sequence[tuple[int, str]], sampler: Sampler
    ) -> None:
        """Answers behind pictures that are read once, or with transformers' own generation, a row for each question.

        The sampler chooses every token.
        """
        if self.architecture.convention.sharing == "fork":
            self._generate_shared(tokenizer, images, questions, sampler)
            return
        prompts = _prompts(tokenizer, images, questions)
        together = [[*range(len(prompts))]]
        if self.architecture.convention.counts_padding:
            together = by_length([prompt["input_ids"][0].tolist() for prompt in prompts])
        for rows in together:
            asked = [questions[row] for row in rows]
            inputs = self._batched(
                [prompts[row] for row in rows], asked, tokenizer, "right" if self.has_encoder else "left"
            )
            self._generate(tokenizer, inputs, rows, sampler)

    def _generate_shared(
        self, tokenizer: HFTokenizer, images: HFImages, questions: Sequence[tuple[int, str]], sampler: Sampler
    ) -> None:
        """Answers questions behind the heads of their pictures; what an answer must begin with is read with them."""
        begun = sampler.begin()
        alive = list(sampler.alive)
        if not alive:
            return
        heads, pictures, tails = _shared(tokenizer, images, [questions[i] for i in alive])
        texts = [tail + begun[i] for tail, i in zip(tails, alive, strict=True)]
        inputs = {name: value.to(self.device) for name, value in batched(heads, tokenizer.pad_id, "left").items()}
        for rows in groups(texts, self.config.get_text_config()):
            reading = Reading(self.vlm, inputs, pictures[rows].to(self.device))
            decode(reading, [alive[row] for row in rows], [texts[row] for row in rows], tokenizer.pad_id, sampler)

    def _generate(self, tokenizer: HFTokenizer, inputs: Prompt, rows: Sequence[int], sampler: Sampler) -> None:
        inputs = {name: value.to(self.device) for name, value in inputs.items()}
        settings = GenerationConfig(
            max_new_tokens=LONGEST_ANSWER,
            do_sample=False,
            num_beams=1,
            eos_token_id=tokenizer.eos_id,
            pad_token_id=tokenizer.pad_id,
            bos_token_id=tokenizer.tokenizer.bos_token_id,
            decoder_start_token_id=getattr(self.config.get_text_config(), "decoder_start_token_id", None),
        )
        # The checkpoint's own settings would add its penalties.
        own, self.vlm.generation_config = self.vlm.generation_config, settings
        try:
            with self._tower_of_rows(inputs):
                self.vlm.generate(
                    **inputs,
                    generation_config=settings,
                    logits_processor=LogitsProcessorList([_SamplerLogits(sampler, rows, tokenizer.eos_id)]),
                    stopping_criteria=StoppingCriteriaList([_AllDone(sampler, rows)]),
                )
        finally:
            self.vlm.generation_config = own

    @torch.no_grad()
    def cast_frozen(self, dtype: torch.dtype) -> None:
        """As in `GroundingModel`; two matrices stay in float32 if only one of them is frozen and they must be alike."""
        super().cast_frozen(dtype)
        ends = next(self.vlm.parameters()), self.vlm.get_input_embeddings().weight
        if self.config.model_type in ONE_TYPE and ends[0].dtype != ends[1].dtype:
            for weight in ends:
                weight.data = weight.data.float()

    def freeze(self) -> None:
        """Stops the gradient of the frozen parts, but not that of adapters."""
        if self.lora is not None:
            freeze_all_but_adapters(self.vlm)
        for name, parameter in self.vlm.named_parameters():
            part = self.architecture.part(name)
            if self.lora is None or part != "language":
                parameter.requires_grad_(part not in self.frozen)

    def frozen_modules(self) -> Iterator[nn.Module]:
        """The modules of the frozen parts."""
        for name, module in self.vlm.named_modules():
            if name and self.architecture.part(name) in self.frozen:
                yield module

    def train(self, mode: bool = True) -> HFModel:
        """Adapters are in training mode although the layers beside them are frozen."""
        super().train(mode)
        if self.lora is not None:
            set_adapters_training(self.vlm, mode)
        return self

    def enable_gradient_checkpointing(self) -> None:
        """Computes the layers' activations again in the backward pass."""
        self.vlm.activation_checkpointing_enable()
        super().enable_gradient_checkpointing()
        if self.sharing == "rows" and self.architecture.convention.sharing == "fork":
            logger.warning("optimiser.gradient_checkpointing: each question is a row with a picture of its own")

    def new_like(self) -> HFModel:
        """A model of the same shape with random weights."""
        config = copy.deepcopy(self.config)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        vlm = AutoModelForImageTextToText.from_config(config)
        return HFModel(vlm, self.processor, self.frozen, self.lora, self.origins, self.architecture)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The weights of each part, adapters among those of the language model."""
        found: dict[str, list[nn.Parameter]] = {part: [] for part in PARTS}
        for name, parameter in self.vlm.named_parameters():
            found[self.architecture.part(name)].append(parameter)
        return found

    def origin(self, part: str) -> dict[str, str]:
        """The checkpoint."""
        return self.origins.get(part, {})

    def summary(self) -> str:
        """How the model writes a box, for the model card."""
        coordinates = self.architecture.coordinate_format
        example = coordinates.box_text((0.1, 0.2, 0.3, 0.4), Frame.filled(1000, 1000))
        return f"A {self.config.model_type} of transformers; it writes a box as `{example}`: {coordinates.source}."


class _SamplerLogits(LogitsProcessor):  # type: ignore[misc]
    """Leaves only the token that the sampler chooses in the logits of each row; rows that have ended get ``eos_id``."""

    def __init__(self, sampler: Sampler, rows: Sequence[int], eos_id: int) -> None:
        self.sampler = sampler
        self.rows = rows
        self.eos_id = eos_id

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (R, V) that are minus infinity except for one token of each row."""
        alive = [index for index, row in enumerate(self.rows) if row in self.sampler.alive]
        tokens, _ = self.sampler.choose([self.rows[index] for index in alive], scores[alive])
        chosen = torch.full((len(self.rows),), self.eos_id, device=scores.device)
        chosen[alive] = tokens
        return torch.full_like(scores, float("-inf")).scatter(1, chosen.unsqueeze(1), 0.0)


class _AllDone(StoppingCriteria):  # type: ignore[misc]
    """Stops when all answers have ended."""

    def __init__(self, sampler: Sampler, rows: Sequence[int]) -> None:
        self.sampler = sampler
        self.rows = rows

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """Whether each row (R,) has ended: all at once."""
        is_done = set(self.rows).isdisjoint(self.sampler.alive)
        return torch.full((len(input_ids),), is_done, device=input_ids.device)


def _prompts(tokenizer: HFTokenizer, images: HFImages, questions: Sequence[tuple[int, str]]) -> list[Prompt]:
    """The processor's tensors of each question and its image, one by one, because some processors pad wrongly."""
    prompts: list[Prompt] = [{}] * len(questions)
    for image, numbers in _by_image(questions).items():
        texts = [questions[number][1] for number in numbers]
        found = tokenizer.process_all(texts, images.images[image], images.frames[image])
        for number, prompt in zip(numbers, found, strict=True):
            prompts[number] = prompt
    return prompts


def _by_image(questions: Sequence[tuple[int, str]]) -> dict[int, list[int]]:
    """The numbers of the questions about each image."""
    found: dict[int, list[int]] = {}
    for number, (image, _) in enumerate(questions):
        found.setdefault(image, []).append(number)
    return found


def _shared(
    tokenizer: HFTokenizer, images: HFImages, questions: Sequence[tuple[int, str]]
) -> tuple[list[Prompt], Tensor, list[list[int]]]:
    """The heads of the pictures that questions are about, and of each question its head (R,) and the ids of its tail.

    Questions about a picture may be anywhere among the others.
    """
    by_image = _by_image(questions)
    heads, pictures = [], torch.zeros(len(questions), dtype=torch.long)
    tails: list[list[int]] = [[] for _ in questions]
    for head, (image, numbers) in enumerate(by_image.items()):
        own = forked(tokenizer, images.images[image], images.frames[image], [questions[i][1] for i in numbers])
        heads.append(own.head)
        pictures[numbers] = head
        for number, tail in zip(numbers, own.tails, strict=True):
            tails[number] = tail
    return heads, pictures, tails


def _in_one_sequence(
    heads: Prompt, pictures: Tensor, pairs: Sequence[tuple[list[int], list[int]]], pad_id: int
) -> Packed:
    """Heads of B pictures, and behind each the tails with their answers of all its turns, (B, T)."""
    rows: list[list[tuple[list[int], list[int]]]] = [[] for _ in heads["input_ids"]]
    for picture, pair in zip(pictures.tolist(), pairs, strict=True):
        rows[picture].append(pair)
    tails, segments, labels = packed(rows, pad_id)
    return Packed({**heads, "tails": tails, "segments": segments}, labels)
