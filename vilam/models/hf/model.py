"""Hugging Face VLMs: whole vision-language models of transformers, as they are published.

Each turn is a row of its own, with the question in the model's prompt (its chat template) and the answer in the model's
coordinate format (configs/conventions). Model and processor are those of transformers, so a model that is
trained here opens there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
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
from vilam.models.hf.architectures import architecture_of
from vilam.models.hf.tokenizer import HFTokenizer, Prompt
from vilam.models.interface import PARTS, GroundingModel, GroundingOutput, Packed, Sampler, SoftAnswers, Turn
from vilam.models.losses import IGNORED, Policy, answers_loss

OF_TEXT = {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "image_embeds_position_mask"}
"""The processor's tensors that have a number for each token of a text."""
AT_ANSWERS = {"attention_mask": 1, "token_type_ids": 1}
"""Their values at an answer's tokens; 0 in the others."""
TILED = {"pixel_values": 5, "pixel_attention_mask": 4}
"""The tensors that hold the tiles of an image if they have this many dimensions."""
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
    Shapes: R rows (turns), L tokens of a row, N answer tokens, V tokens of the vocabulary.
    """

    def __init__(
        self,
        vlm: Any,
        processor: Any,
        frozen: Sequence[str] = (),
        lora: dict[str, Any] | None = None,
        origins: dict[str, dict[str, str]] | None = None,
    ) -> None:
        super().__init__()
        self.vlm = vlm
        self.processor = processor
        self.architecture = architecture_of(vlm.config.model_type)
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
        if self.has_encoder:
            start = self.config.get_text_config().decoder_start_token_id
            before = torch.cat([labels.new_full((len(labels), 1), start), labels[:, :-1]], dim=1)
            decoded = before.masked_fill(before == IGNORED, start)
            logits = self.vlm(**inputs, decoder_input_ids=decoded, use_cache=False).logits[answered]  # (N, V)
        else:
            # The state before a token predicts it. Each row begins with a question.
            logits = self.vlm(**inputs, use_cache=False).logits[:, :-1][answered[:, 1:]]  # (N, V)
        weights, totals = self.with_defaults(labels, weights, totals, policy)
        loss = answers_loss(logits, answered, labels, weights, None, 0.0, policy, kl) / totals[0]
        return GroundingOutput(loss=loss, logits=logits)

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
        """One row for each turn with the processor's tensors, padded on the right."""
        questions = [(image, turn.question) for image, turns in enumerate(rows) for turn in turns]
        prompts = _prompts(tokenizer, images, questions)
        answers = [list(turn.answer) for turns in rows for turn in turns]
        if self.has_encoder:
            return Packed(_batched(prompts, tokenizer.pad_id, "right"), _padded(answers, IGNORED, "right"))
        answered = [_with_answer(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        labels = [
            [IGNORED] * prompt["input_ids"].shape[1] + answer for prompt, answer in zip(prompts, answers, strict=True)
        ]
        return Packed(_batched(answered, tokenizer.pad_id, "right"), _padded(labels, IGNORED, "right"))

    def generate(
        self, tokenizer: HFTokenizer, images: HFImages, questions: Sequence[tuple[int, str]], sampler: Sampler
    ) -> None:
        """Answers with transformers' own generation, in which the sampler chooses every token."""
        numbers = list(range(len(questions)))
        for rows in [[number] for number in numbers] if self.architecture.convention.counts_padding else [numbers]:
            self._generate(tokenizer, _prompts(tokenizer, images, [questions[i] for i in rows]), rows, sampler)

    def _generate(
        self, tokenizer: HFTokenizer, prompts: Sequence[Prompt], rows: Sequence[int], sampler: Sampler
    ) -> None:
        inputs = _batched(prompts, tokenizer.pad_id, "right" if self.has_encoder else "left")
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
            self.vlm.generate(
                **{name: value.to(self.device) for name, value in inputs.items()},
                generation_config=settings,
                logits_processor=LogitsProcessorList([_SamplerLogits(sampler, rows, tokenizer.eos_id)]),
                stopping_criteria=StoppingCriteriaList([_AllDone(sampler, rows)]),
            )
        finally:
            self.vlm.generation_config = own

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

    def new_like(self) -> HFModel:
        """A model of the same shape with random weights."""
        config = copy.deepcopy(self.config)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        vlm = AutoModelForImageTextToText.from_config(config)
        return HFModel(vlm, self.processor, self.frozen, self.lora, self.origins)

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
    return [tokenizer.process(question, images.images[image], images.frames[image]) for image, question in questions]


def _with_answer(prompt: Prompt, answer: Sequence[int]) -> Prompt:
    """A row with an answer after its question."""
    length = prompt["input_ids"].shape[1]
    row = dict(prompt)
    for name in OF_TEXT & prompt.keys():
        assert prompt[name].shape == (1, length)
        end = answer if name == "input_ids" else [AT_ANSWERS.get(name, 0)] * len(answer)
        row[name] = torch.cat([prompt[name], prompt[name].new_tensor([end])], dim=1)
    return row


def _batched(rows: Sequence[Prompt], pad_id: int, side: str) -> Prompt:
    """Batches of one row as one batch: texts and the tiles of images are padded, images are concatenated."""
    batch: Prompt = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in OF_TEXT or name.startswith("qformer_"):
            padding = pad_id if name == "input_ids" else 0
            batch[name] = _padded([each[0].tolist() for each in values], padding, side if name in OF_TEXT else "right")
        elif name in TILED and values[0].dim() == TILED[name]:
            batch[name] = pad_sequence([each[0] for each in values], batch_first=True)
        else:
            batch[name] = torch.cat(values)
    return batch


def _padded(rows: Sequence[Sequence[int]], padding: int, side: str) -> Tensor:
    """Rows of ids as one tensor (R, L), padded on a side."""
    tensors = [torch.tensor(row) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=padding, padding_side=side)
