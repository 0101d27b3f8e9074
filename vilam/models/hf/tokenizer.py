"""The tokenizer of a Hugging Face VLM: its processor, its prompt, and the format of its answers."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from PIL import Image
from torch import Tensor

from vilam.errors import VilamError, first_line
from vilam.models.coordinate_formats import Frame
from vilam.models.hf.architectures import Architecture, architecture_of
from vilam.tasks.answers import GROUP

Prompt = dict[str, Tensor]
"""The tensors that a processor makes of a text and an image, by name."""
ANCHORS = ("]", "a", ".", "\n")
"""After one of these a tokenizer encodes a text as the continuation of another text."""


class HFTokenizer:
    """The processor of a Hugging Face VLM, and how its answers are written.

    kept: the small files of its checkpoint, by name, which are saved with it (vilam/models/hf/kept_files.py).
    """

    bins: int | None = None
    first_coordinate: int | None = None

    def __init__(self, processor: Any, config: Any, architecture: Architecture | None = None) -> None:
        self.processor = processor
        self.kept: dict[str, bytes] = {}
        self.tokenizer = processor.tokenizer
        self.architecture = architecture or architecture_of(config.model_type)
        self.convention = self.architecture.convention
        self.coordinate_format = self.architecture.coordinate_format
        # Without a chat template, an answer ends like a text of the language model: for BLIP-2's OPT with a line break.
        own_end = None if self.convention.prompt is None else getattr(config.get_text_config(), "eos_token_id", None)
        self.eos_id = int(self.tokenizer.eos_token_id if own_end is None else own_end)
        self.pad_id = int(self.eos_id if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id)
        self.vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        start = self.convention.answer_start
        self.answer_start: tuple[int, ...] = (self.vocabulary[start],) if start else ()
        second = getattr(processor, "qformer_tokenizer", None)  # InstructBLIP's, which reads the question too
        tokens = {*self.tokenizer.get_added_vocab(), *(second.get_added_vocab() if second else ())}
        self.special_tokens = re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))))
        self.encode_words = lru_cache(maxsize=65536)(self._encode_words)

    def prompt(self, question: str, frame: Frame) -> str:
        """The whole text that asks a question; none of its special tokens comes from the question."""
        text = self.coordinate_format.encode(self._without_special_tokens(question), frame)
        if self.convention.prompt is not None:
            return self.convention.prompt.replace("{}", text)
        content = [{"type": "image"}, {"type": "text", "text": text}]
        messages = [{"role": "user", "content": content}]
        return str(self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def process(self, question: str, image: Image.Image, frame: Frame) -> Prompt:
        """The tensors of one question about one image; raises VilamError if the processor refuses the image."""
        try:
            tensors = self.processor(text=[self.prompt(question, frame)], images=[[image]], return_tensors="pt")
        except ValueError as error:  # Qwen's refuses an image that is 200 times as long as wide
            problem = f"an image of {image.width} x {image.height}: {first_line(error)}"
            raise VilamError(f"{problem}: leave it out") from error
        return {name: value for name, value in tensors.items() if name != "labels"}

    def process_all(self, questions: Sequence[str], image: Image.Image, frame: Frame) -> list[Prompt]:
        """The tensors of each question about one image, whose pixels are processed once."""
        once = copy.copy(self)
        once.processor = copy.copy(self.processor)
        once.processor.image_processor = _Once(self.processor.image_processor)
        return [once.process(question, image, frame) for question in questions]

    def encode(self, text: str) -> list[int]:
        """Ids of a text that begins an answer."""
        return self._ids(self._without_special_tokens(text))

    def add_answer_prefix(self, answer: str) -> str:
        """An answer as it follows a question."""
        return answer if answer.startswith("[") else self.convention.answer_prefix + answer

    def encode_answer(self, answer: str, frame: Frame | None = None) -> list[int]:
        """Ids of an answer with coordinates 0-1000 of the image, and of the end of the sequence."""
        ids = [*self.answer_start]
        end = 0
        text = self.add_answer_prefix(self._without_special_tokens(answer))
        for group in GROUP.finditer(text):
            assert frame is not None, "coordinates need the frame of their image"
            ids += self._encode_between(text[end : group.start()], end)
            pieces = self.coordinate_format.pieces(group.group(), frame)
            ids += [token for piece in pieces for token in self.encode_words(piece)]
            end = group.end()
        return [*ids, *self._encode_between(text[end:], end), self.eos_id]

    def decode_answer(self, ids: Sequence[int], frame: Frame | None = None) -> str:
        """The answer as text, with coordinates 0-1000 of the image."""
        words = [token for token in ids if token not in (self.eos_id, self.pad_id, *self.answer_start)]
        text = str(self.tokenizer.decode(words, skip_special_tokens=False, clean_up_tokenization_spaces=False)).strip()
        return text if frame is None else self.coordinate_format.decode(text, frame)

    def _encode_between(self, text: str, start: int) -> Sequence[int]:
        """Ids of the text before, between or after coordinates, from ``start`` on in the answer."""
        if not text:
            return ()
        return self.encode_words(text) if start else self.encode(text)

    def _encode_words(self, text: str) -> tuple[int, ...]:
        """Ids of a text inside an answer; a number may be a token of its own."""
        if text in self.vocabulary:
            return (self.vocabulary[text],)
        special = self.special_tokens.search(text)
        if special is not None and special.group():  # of the convention: a person's text has none
            parts = (text[: special.start()], special.group(), text[special.end() :])
            return tuple(token for part in parts if part for token in self._encode_words(part))
        for anchor in ANCHORS:  # some tokenizers begin every text with a space
            before, both = self._ids(anchor), self._ids(anchor + text)
            if both[: len(before)] == before:
                return tuple(both[len(before) :])
        return tuple(self._ids(text))

    def _ids(self, text: str) -> list[int]:
        # Text that a person types is never read as a special token.
        return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def _without_special_tokens(self, text: str) -> str:
        """Removes special tokens, and those that appear when another one is removed."""
        while (shorter := self.special_tokens.sub("", text)) != text:
            text = shorter
        return text


class _Once:
    """An image processor that is only ever given one image, and processes it the first time."""

    def __init__(self, image_processor: Any) -> None:
        self._wrapped = image_processor
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        """What the image processor has."""
        return getattr(self._wrapped, name)

    def __call__(self, *images: Any, **settings: Any) -> Any:
        """The tensors, in a mapping that a processor may change."""
        if self._made is None:
            self._made = self._wrapped(*images, **settings)
        return copy.copy(self._made)
