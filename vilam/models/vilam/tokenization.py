"""The tokenizer of the composed model: text to token ids and back, with coordinates as tokens or as digits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from vilam.models.coordinate_formats import THOUSANDTHS, Frame
from vilam.models.vilam.coordinates import coordinate_tokens, group_to_offsets, offsets_to_text
from vilam.tasks.answers import GROUP, thousandths

ANSWER_MARK = "\n"
"""The separator of a question and its answer."""
PIECE = re.compile(r"[0-9]+|, |[\[\]]")
"""A piece of a group of coordinates in digits."""


def train_tokenizer(texts: Iterable[str], vocab_size: int = 4096) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of a project's own words: no text is unknown, and frequent words are one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=["<pad>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator((GROUP.sub("", text) for text in texts), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def add_answer_prefix(answer: str) -> str:
    """An answer with a space before its first word, so that a word is the same token in questions and answers."""
    return answer if answer.startswith("[") else f" {answer}"


class GroundingTokenizer:
    """A transformers tokenizer that writes coordinates as digits (``bins`` None) or as one token each.

    Coordinates are thousandths of the image's own sides; the frame is ignored.
    """

    coordinate_format = THOUSANDTHS
    answer_start: tuple[int, ...] = ()

    def __init__(self, tokenizer: Any, bins: int | None) -> None:
        self.tokenizer = tokenizer
        self.bins = bins
        self.first_coordinate: int | None = None
        if bins is not None:
            names = coordinate_tokens(bins)
            tokenizer.add_tokens(names, special_tokens=True)
            self.first_coordinate = int(tokenizer.convert_tokens_to_ids(names[0]))
        self.eos_id = int(tokenizer.eos_token_id)
        self.pad_id = int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
        self.first_id = self.eos_id if tokenizer.bos_token_id is None else int(tokenizer.bos_token_id)
        self.encode_words = lru_cache(maxsize=65536)(self._encode_words)

    @property
    def vocab_size(self) -> int:
        """Tokens of the language model; the first coordinate token, if any, comes after them."""
        return len(self.tokenizer) if self.first_coordinate is None else self.first_coordinate

    def _encode_words(self, text: str) -> tuple[int, ...]:
        # Text that a person types is never read as a special token.
        return tuple(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; nothing is added before or after."""
        ids: list[int] = []
        end = 0
        for group in GROUP.finditer(text):
            ids += self.encode_words(text[end : group.start()]) if group.start() > end else ()
            ids += self._encode_group(group.group())
            end = group.end()
        ids += self.encode_words(text[end:]) if end < len(text) else ()
        return ids

    def _encode_group(self, group: str) -> list[int]:
        if self.first_coordinate is not None and self.bins is not None:
            return [self.first_coordinate + offset for offset in group_to_offsets(group, self.bins)]
        # Piece by piece, as the constraints do: a tokenizer may have tokens such as "], [" or " 29".
        return [token for piece in PIECE.findall(thousandths(group)) for token in self.encode_words(piece)]

    def encode_question(self, question: str) -> list[int]:
        """Token ids of a question and of the mark before its answer."""
        return self.encode(question + ANSWER_MARK)

    def add_answer_prefix(self, answer: str) -> str:
        """An answer as it follows a question."""
        return add_answer_prefix(answer)

    def encode_answer(self, answer: str, frame: Frame | None = None) -> list[int]:
        """Token ids of an answer and the end of the sequence."""
        return [*self.encode(add_answer_prefix(answer)), self.eos_id]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids up to the end of the sequence, with coordinates 0-1000."""
        text = ""
        words: list[int] = []
        offsets: list[int] = []
        for token in [*ids, self.eos_id]:
            if self.first_coordinate is not None and self.bins is not None and token >= self.first_coordinate:
                text, words = text + self._words(words), []
                offsets.append(token - self.first_coordinate)
                continue
            if offsets and self.bins is not None:
                text, offsets = text + offsets_to_text(offsets, self.bins), []
            if token == self.eos_id:
                break
            words.append(token)
        return text + self._words(words)

    def decode_answer(self, ids: Iterable[int], frame: Frame | None = None) -> str:
        """The answer as text, without the space before its first word."""
        return self.decode(ids).removeprefix(" ")

    def _words(self, ids: list[int]) -> str:
        return (
            str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)) if ids else ""
        )
