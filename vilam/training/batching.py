"""Examples to tensors: all instructions of an image packed behind one image prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vilam.models.images import load_pixels
from vilam.models.tokenization import GroundingTokenizer
from vilam.models.vilam import VilamConfig
from vilam.training.sampling import Example

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed instructions of B images.

    pixel_values (B, 3, S, S); input_ids, segments, labels (B, L) as VilamForConditionalGeneration takes them;
    weights (B, L): each instruction's weight spread evenly over its answer's tokens, so that a class counts as much as
    the 50 numbers of an outline.
    """

    pixel_values: Tensor
    input_ids: Tensor
    segments: Tensor
    labels: Tensor
    weights: Tensor

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        return Batch(*(getattr(self, name).to(device) for name in self.__slots__))


def collate(
    images: Sequence[bytes], examples: Sequence[Sequence[Example]], tokenizer: GroundingTokenizer, config: VilamConfig
) -> Batch:
    """Pack the examples of each image; images are encoded files."""
    rows = [_pack(each, tokenizer) for each in examples]
    length = max(len(row[0]) for row in rows)
    columns = [torch.zeros(len(rows), length, dtype=dtype) for dtype in (torch.long, torch.long, torch.long)]
    ids, segments, labels = columns
    ids.fill_(tokenizer.pad_id)
    labels.fill_(IGNORED)
    weights = torch.zeros(len(rows), length)
    for index, row in enumerate(rows):
        targets: tuple[tuple[Tensor, Sequence[float]], ...] = tuple(
            zip((ids, segments, labels, weights), row, strict=True)
        )
        for target, values in targets:
            target[index, : len(values)] = torch.tensor(values, dtype=target.dtype)
    return Batch(load_pixels(images, config), ids, segments, labels, weights)


def _pack(
    examples: Sequence[Example], tokenizer: GroundingTokenizer
) -> tuple[list[int], list[int], list[int], list[float]]:
    ids: list[int] = []
    segments: list[int] = []
    labels: list[int] = []
    weights: list[float] = []
    for number, example in enumerate(examples, start=1):
        question = tokenizer.encode_question(example.instruction.question)
        answer = tokenizer.encode_answer(example.instruction.answer)
        ids += question + answer
        segments += [number] * (len(question) + len(answer))
        labels += [IGNORED] * len(question) + answer
        weights += [0.0] * len(question) + [example.weight / len(answer)] * len(answer)
    return ids, segments, labels, weights
