"""How likely a model finds given answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vilam.models.losses import IGNORED
from vilam.models.packing import padded
from vilam.models.tokenization import GroundingTokenizer
from vilam.models.vilam import VilamForConditionalGeneration

ROWS, ANSWERS = 16, 16
"""Rows that are read at once, and answers in a row at most: what bounds the memory."""


@dataclass(frozen=True, slots=True)
class Given:
    """A question on the ``image``-th image of a batch, and the tokens of an answer."""

    image: int
    question: str
    ids: tuple[int, ...]


@torch.no_grad()
def log_probabilities(
    model: VilamForConditionalGeneration, tokenizer: GroundingTokenizer, pixel_values: Tensor, given: Sequence[Given]
) -> list[tuple[float, ...]]:
    """Log probability of each token of each answer, whatever a grammar may allow. pixel_values (B, 3, S, S).

    Answers about an image are read some at a time, behind one image prefix, and know nothing of each other.
    """
    was_training = model.training
    model.eval()
    found: dict[int, tuple[float, ...]] = {}
    rows = list(_rows(given))
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        pixels = pixel_values[[given[row[0]].image for row in some]]
        scores = iter(_scores(model, tokenizer, pixels, [[given[i] for i in row] for row in some]))
        found |= {i: tuple(next(scores) for _ in given[i].ids) for row in some for i in row}
    model.train(was_training)
    return [found[i] for i in range(len(given))]


def _rows(given: Sequence[Given]) -> Iterator[list[int]]:
    """Indices of what is read together: a few answers about one image."""
    by_image: dict[int, list[int]] = {}
    for index, each in enumerate(given):
        by_image.setdefault(each.image, []).append(index)
    for indices in by_image.values():
        yield from (indices[start : start + ANSWERS] for start in range(0, len(indices), ANSWERS))


def _scores(
    model: VilamForConditionalGeneration,
    tokenizer: GroundingTokenizer,
    pixel_values: Tensor,
    rows: Sequence[Sequence[Given]],
) -> list[float]:
    """Log probabilities of the tokens of all answers, row after row."""
    questions = [[tokenizer.encode_question(each.question) for each in row] for row in rows]
    pairs = [list(zip(asked, row, strict=True)) for asked, row in zip(questions, rows, strict=True)]
    ids = padded([[[*question, *each.ids] for question, each in row] for row in pairs], tokenizer.pad_id)
    labels = padded([[[IGNORED] * len(question) + [*each.ids] for question, each in row] for row in pairs], IGNORED)
    numbers = [[[i] * (len(asked) + len(each.ids)) for i, (asked, each) in enumerate(row, start=1)] for row in pairs]
    device = pixel_values.device
    logits = model(pixel_values, ids.to(device), padded(numbers, 0).to(device), labels.to(device)).logits
    wanted = labels[labels != IGNORED].unsqueeze(1).to(device)
    return torch.log_softmax(logits.float(), dim=-1).gather(1, wanted).squeeze(1).tolist()
