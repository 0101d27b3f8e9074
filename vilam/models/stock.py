"""Whole vision-language models of transformers, as they are published: families `paper` and `native`.

Each instruction is a row of its own, asked in the model's own words (its chat template) and answered in its own way of
writing places (vilam/models/architectures.py). Model and processor are transformers' own, so that what is trained here
opens there.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

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

from vilam.errors import VilamError
from vilam.models.adapters import add_adapters, freeze_all_but_adapters, set_adapters_training
from vilam.models.architectures import architecture
from vilam.models.conventions import Frame
from vilam.models.coordinates import GROUP
from vilam.models.family import Chooser, Exchange, GroundingModel, Packed
from vilam.models.images import opened
from vilam.models.losses import IGNORED, Policy, answers_loss
from vilam.models.opening import first_line
from vilam.models.vilam import PARTS, VilamOutput

OF_TEXT = {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "image_embeds_position_mask"}
"""The processor's tensors that hold a number for each token of a text."""
ANSWERED = {"attention_mask": 1, "token_type_ids": 1}
"""What stands there at an answer's tokens; 0 in the others."""
TILED = {"pixel_values": 5, "pixel_attention_mask": 4}
"""Those that hold the tiles of a picture, where they have so many dimensions."""
LONGEST_ANSWER = 4096
"""Tokens; grammars end answers long before."""
Prompt = dict[str, Tensor]
"""What a processor makes of a text and a picture, by name."""
ANCHORS = ("]", "a", ".", "\n")
"""Behind one of these a tokenizer writes a text as it does in the middle of another."""


@dataclass(frozen=True, slots=True)
class StockPictures:
    """Pictures as they are, since the processor takes them together with a text, and their frames."""

    images: tuple[Image.Image, ...]
    frames: tuple[Frame, ...]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.images)

    def __getitem__(self, numbers: Sequence[int]) -> StockPictures:
        """Some of them."""
        return StockPictures(tuple(self.images[i] for i in numbers), tuple(self.frames[i] for i in numbers))


class StockTokenizer:
    """A model's processor, and how its answers are written."""

    bins: int | None = None
    first_coordinate: int | None = None

    def __init__(self, processor: Any, config: Any) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.known = architecture(config.model_type)
        self.convention = self.known.convention
        # Where there is no chat template, an answer ends as the language model ends a text: BLIP-2's OPT by a line.
        own_end = None if self.known.prompt is None else getattr(config.get_text_config(), "eos_token_id", None)
        self.eos_id = int(self.tokenizer.eos_token_id if own_end is None else own_end)
        self.pad_id = int(self.eos_id if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id)
        self.vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        second = getattr(processor, "qformer_tokenizer", None)  # InstructBLIP's, which reads the question too
        tokens = {*self.tokenizer.get_added_vocab(), *(second.get_added_vocab() if second else ())}
        self.forbidden = re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))))
        self.encode_words = lru_cache(maxsize=65536)(self._encode_words)

    def prompt(self, question: str, frame: Frame) -> str:
        """The whole text that asks a question; no special token of it comes from the question."""
        text = self.convention.foreign(self._harmless(question), frame)
        if self.known.prompt is not None:
            return self.known.prompt.format(text)
        content = [{"type": "image"}, {"type": "text", "text": text}]
        messages = [{"role": "user", "content": content}]
        return str(self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def _harmless(self, text: str) -> str:
        """Without special tokens, nor what becomes one when another is taken out of it."""
        while (shorter := self.forbidden.sub("", text)) != text:
            text = shorter
        return text

    def processed(self, question: str, picture: Image.Image, frame: Frame) -> Prompt:
        """The tensors of one question about one picture."""
        try:
            made = self.processor(text=[self.prompt(question, frame)], images=[[picture]], return_tensors="pt")
        except ValueError as error:  # Qwen's takes no picture that is 200 times as long as wide
            told = f"a picture of {picture.width} x {picture.height}: {first_line(error)}"
            raise VilamError(f"{told}: leave it out") from error
        return {name: value for name, value in made.items() if name != "labels"}

    def encode(self, text: str) -> list[int]:
        """Ids of a text that begins an answer."""
        return self._ids(self._harmless(text))

    def _ids(self, text: str) -> list[int]:
        # What a person writes is never read as a special token.
        return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def _encode_words(self, text: str) -> tuple[int, ...]:
        """Ids of a text in the middle of an answer; a number may be a token of its own."""
        if text in self.vocabulary:
            return (self.vocabulary[text],)
        for anchor in ANCHORS:  # some tokenizers begin every text with a space
            before, both = self._ids(anchor), self._ids(anchor + text)
            if both[: len(before)] == before:
                return tuple(both[len(before) :])
        return tuple(self._ids(text))

    def lead_in(self, answer: str) -> str:
        """An answer as it stands behind a question."""
        return answer if answer.startswith("[") else self.known.lead + answer

    def encode_answer(self, answer: str, frame: Frame | None = None) -> list[int]:
        """Ids of an answer, coordinates 0-1000 of the picture, and the end of the sequence."""
        ids: list[int] = []
        end = 0
        text = self.lead_in(self._harmless(answer))
        for group in GROUP.finditer(text):
            assert frame is not None, "places need the frame of their picture"
            ids += self._between(text[end : group.start()], end)
            ids += [i for piece in self.convention.pieces(group.group(), frame) for i in self.encode_words(piece)]
            end = group.end()
        return [*ids, *self._between(text[end:], end), self.eos_id]

    def _between(self, text: str, start: int) -> Sequence[int]:
        if not text:
            return ()
        return self.encode_words(text) if start else self.encode(text)

    def decode_answer(self, ids: Sequence[int], frame: Frame | None = None) -> str:
        """The answer that a person reads, coordinates 0-1000 of the picture."""
        words = [token for token in ids if token not in (self.eos_id, self.pad_id)]
        text = str(self.tokenizer.decode(words, skip_special_tokens=False, clean_up_tokenization_spaces=False)).strip()
        return text if frame is None else self.convention.canonical(text, frame)


class StockModel(GroundingModel):
    """A vision-language model of transformers. ``processor`` is asked for the frames of pictures only.

    frozen: parts that are not trained. lora: adapters of a frozen language model. origins: where the weights are from.
    """

    def __init__(
        self,
        stock: Any,
        processor: Any,
        frozen: Sequence[str] = (),
        lora: dict[str, Any] | None = None,
        origins: dict[str, dict[str, str]] | None = None,
    ) -> None:
        super().__init__()
        self.stock = stock
        self.processor = processor
        self.known = architecture(stock.config.model_type)
        self.frozen = list(frozen)
        self.lora = lora
        self.origins = origins or {}
        if lora is not None:
            # Not beside the words' embeddings, nor a head: these are often one matrix.
            ends = {id(end.weight) for end in (stock.get_input_embeddings(), stock.get_output_embeddings()) if end}
            words = {name for name, module in stock.named_modules() if id(getattr(module, "weight", None)) in ends}
            add_adapters(stock, lora, lambda name: self.known.part(name) == "language" and name not in words)
        self.freeze()

    @property
    def config(self) -> Any:
        """Transformers' own."""
        return self.stock.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        found: torch.device = next(self.stock.parameters()).device
        return found

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder reads the question and a decoder writes the answer."""
        return bool(self.config.get_text_config().is_encoder_decoder)

    def twin(self) -> StockModel:
        """A model of the same shape with random weights."""
        config = copy.deepcopy(self.config)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        stock = AutoModelForImageTextToText.from_config(config)
        return StockModel(stock, self.processor, self.frozen, self.lora, self.origins)

    def freeze(self) -> None:
        """Stop the gradient of the frozen parts, but not that of adapters."""
        if self.lora is not None:
            freeze_all_but_adapters(self.stock)
        for name, parameter in self.stock.named_parameters():
            part = self.known.part(name)
            if self.lora is None or part != "language":
                parameter.requires_grad_(part not in self.frozen)

    def frozen_modules(self) -> Iterator[nn.Module]:
        """The modules of the parts that are not trained."""
        for name, module in self.stock.named_modules():
            if name and self.known.part(name) in self.frozen:
                yield module

    def train(self, mode: bool = True) -> StockModel:
        """Adapters are in training mode beside frozen layers that are not."""
        super().train(mode)
        if self.lora is not None:
            set_adapters_training(self.stock, mode)
        return self

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The weights of each part, adapters among those of the language model."""
        found: dict[str, list[nn.Parameter]] = {part: [] for part in PARTS}
        for name, parameter in self.stock.named_parameters():
            found[self.known.part(name)].append(parameter)
        return found

    def origin(self, part: str) -> dict[str, str]:
        """The checkpoint."""
        return self.origins.get(part, {})

    def manner(self) -> str:
        """For the model card."""
        told = self.known.convention
        example = told.box_text((0.1, 0.2, 0.3, 0.4), Frame.filled(1000, 1000))
        return f"A {self.config.model_type} of transformers; it writes a box as `{example}`: {told.source}."

    def recompute(self) -> None:
        """Let layers compute again on the way back what they would have to remember."""
        self.stock.activation_checkpointing_enable()
        super().recompute()

    def see(self, images: Sequence[bytes | Image.Image]) -> StockPictures:
        """The pictures as RGB."""
        pictures = tuple(map(opened, images))
        return StockPictures(pictures, tuple(self.known.frame(self.processor, *picture.size) for picture in pictures))

    def frames(self, pictures: StockPictures) -> Sequence[Frame]:
        """What the model's places are counted in."""
        return pictures.frames

    def pack(self, tokenizer: StockTokenizer, pictures: StockPictures, rows: Sequence[Sequence[Exchange]]) -> Packed:
        """A row for each exchange, padded on the right, as the processor makes them."""
        prompts = self._prompts(
            tokenizer, pictures, [(image, each.question) for image, row in enumerate(rows) for each in row]
        )
        answers = [list(each.answer) for row in rows for each in row]
        if self.has_encoder:
            return Packed(_batched(prompts, tokenizer.pad_id, "right"), _padded(answers, IGNORED, "right"))
        whole = [_answered(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        labels = [
            [IGNORED] * prompt["input_ids"].shape[1] + answer for prompt, answer in zip(prompts, answers, strict=True)
        ]
        return Packed(_batched(whole, tokenizer.pad_id, "right"), _padded(labels, IGNORED, "right"))

    def _prompts(
        self, tokenizer: StockTokenizer, pictures: StockPictures, asked: Sequence[tuple[int, str]]
    ) -> list[Prompt]:
        """What the processor makes of each question and its picture, one by one: padding has its traps in some."""
        return [
            tokenizer.processed(question, pictures.images[image], pictures.frames[image]) for image, question in asked
        ]

    def forward(
        self,
        labels: Tensor | None = None,
        weights: Tensor | None = None,
        totals: Tensor | None = None,
        coordinate_sigma: float = 0.0,
        pointing_weight: float = 0.0,
        policy: Policy | None = None,
        kl: float = 0.0,
        middle: None = None,
        **inputs: Tensor,
    ) -> VilamOutput:
        """Logits (N, tokens) of the answers' tokens and their loss, as VilamForConditionalGeneration's.

        Places have no tokens of their own: ``coordinate_sigma`` and ``pointing_weight`` change nothing.
        """
        assert labels is not None, "a model of transformers is asked for the logits of answers only"
        assert middle is None, "only models that are joined here have soft middles"
        known = labels != IGNORED
        if self.has_encoder:
            start = self.config.get_text_config().decoder_start_token_id
            before = torch.cat([labels.new_full((len(labels), 1), start), labels[:, :-1]], dim=1)
            decoded = before.masked_fill(before == IGNORED, start)
            logits = self.stock(**inputs, decoder_input_ids=decoded, use_cache=False).logits[known]
        else:
            # The state before a token predicts it; each row starts with a question.
            logits = self.stock(**inputs, use_cache=False).logits[:, :-1][known[:, 1:]]
        weights, totals = self.weighed(labels, weights, totals, policy)
        loss = answers_loss(logits, known, labels, weights, None, 0.0, policy, kl) / totals[0]
        return VilamOutput(loss=loss, logits=logits)

    def loss_totals(self, labels: Tensor, weights: Tensor, policy: Policy | None = None) -> Tensor:
        """Summed weights (2,) of the answers' tokens, and 0: no box is pointed at."""
        return torch.stack([weights[labels != IGNORED].sum(), weights.new_zeros(())])

    def speak(
        self,
        tokenizer: StockTokenizer,
        pictures: StockPictures,
        asked: Sequence[tuple[int, str]],
        chooser: Chooser,
    ) -> None:
        """By transformers' own generation, whose every token the chooser chooses."""
        numbers = list(range(len(asked)))
        for rows in [[number] for number in numbers] if self.known.counts_padding else [numbers]:
            self._speak(tokenizer, self._prompts(tokenizer, pictures, [asked[i] for i in rows]), rows, chooser)

    def _speak(
        self, tokenizer: StockTokenizer, prompts: Sequence[Prompt], rows: Sequence[int], chooser: Chooser
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
        own, self.stock.generation_config = self.stock.generation_config, settings  # else its penalties would count too
        try:
            self.stock.generate(
                **{name: value.to(self.device) for name, value in inputs.items()},
                generation_config=settings,
                logits_processor=LogitsProcessorList([_Chosen(chooser, rows, tokenizer.eos_id)]),
                stopping_criteria=StoppingCriteriaList([_AllDone(chooser, rows)]),
            )
        finally:
            self.stock.generation_config = own


class _Chosen(LogitsProcessor):  # type: ignore[misc]
    """Leaves of the logits of each row the chosen token alone; rows that are done say nothing more."""

    def __init__(self, chooser: Chooser, rows: Sequence[int], eos_id: int) -> None:
        self.chooser = chooser
        self.rows = rows
        self.eos_id = eos_id

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (R, tokens) that are minus infinity but for one token of each row."""
        alive = [place for place, row in enumerate(self.rows) if row in self.chooser.alive]
        tokens, _ = self.chooser.choose([self.rows[place] for place in alive], scores[alive])
        chosen = torch.full((len(self.rows),), self.eos_id, device=scores.device)
        chosen[alive] = tokens
        return torch.full_like(scores, float("-inf")).scatter(1, chosen.unsqueeze(1), 0.0)


class _AllDone(StoppingCriteria):  # type: ignore[misc]
    """Nothing is left to be said."""

    def __init__(self, chooser: Chooser, rows: Sequence[int]) -> None:
        self.chooser = chooser
        self.rows = rows

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """For each row (R,) whether it is done: all at once."""
        is_done = set(self.rows).isdisjoint(self.chooser.alive)
        return torch.full((len(input_ids),), is_done, device=input_ids.device)


def _answered(prompt: Prompt, answer: Sequence[int]) -> Prompt:
    """A row with an answer behind its question."""
    length = prompt["input_ids"].shape[1]
    whole = dict(prompt)
    for name in OF_TEXT & prompt.keys():
        assert prompt[name].shape == (1, length)
        end = answer if name == "input_ids" else [ANSWERED.get(name, 0)] * len(answer)
        whole[name] = torch.cat([prompt[name], prompt[name].new_tensor([end])], dim=1)
    return whole


def _batched(rows: Sequence[Prompt], pad_id: int, side: str) -> Prompt:
    """Rows of one as one batch: texts are padded, the tiles of pictures too, pictures stand one after the other."""
    batch: Prompt = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in OF_TEXT or name.startswith("qformer_"):
            padding = pad_id if name == "input_ids" else 0
            batch[name] = _padded([each[0].tolist() for each in values], padding, side if name in OF_TEXT else "right")
        elif name in TILED and values[0].dim() == TILED[name]:
            batch[name] = torch.nn.utils.rnn.pad_sequence([each[0] for each in values], batch_first=True)
        else:
            batch[name] = torch.cat(values)
    return batch


def _padded(rows: Sequence[Sequence[int]], padding: int, side: str) -> Tensor:
    tensors = [torch.tensor(row) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=padding, padding_side=side)
