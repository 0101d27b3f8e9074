"""How likely a model finds given answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from vilam.models.family import Exchange, GroundingModel, Pictures, Tokens
from vilam.models.losses import IGNORED

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
    model: GroundingModel, tokenizer: Tokens, pictures: Pictures, given: Sequence[Given]
) -> list[tuple[float, ...]]:
    """Log probability of each token of each answer, whatever a grammar may allow.

    Answers about an image are read some at a time, and know nothing of each other.
    """
    was_training = model.training
    model.eval()
    found: dict[int, tuple[float, ...]] = {}
    rows = list(_rows(given))
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        seen = pictures[[given[row[0]].image for row in some]]
        scores = iter(_scores(model, tokenizer, seen, [[given[i] for i in row] for row in some]))
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
    model: GroundingModel, tokenizer: Tokens, pictures: Pictures, rows: Sequence[Sequence[Given]]
) -> list[float]:
    """Log probabilities of the tokens of all answers, row after row."""
    exchanges = [[Exchange(each.question, each.ids) for each in row] for row in rows]
    packed = model.pack(tokenizer, pictures, exchanges).to(model.device)
    logits = model(**packed.inputs, labels=packed.labels).logits
    wanted = packed.labels[packed.labels != IGNORED].unsqueeze(1)
    return torch.log_softmax(logits.float(), dim=-1).gather(1, wanted).squeeze(1).tolist()
