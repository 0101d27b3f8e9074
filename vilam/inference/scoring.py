"""The log probabilities of known answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from vilam.inference.model import Model
from vilam.models.interface import ImageBatch, Turn
from vilam.models.losses import IGNORED

ROWS, ANSWERS = 16, 16
"""The largest number of rows in a forward pass and of answers in a row; they bound the memory."""


@dataclass(frozen=True, slots=True)
class Target:
    """A question about the ``image``-th image of a batch, and the tokens of an answer to it."""

    image: int
    question: str
    ids: tuple[int, ...]


@torch.no_grad()
def log_probabilities(model: Model, images: ImageBatch, targets: Sequence[Target]) -> list[tuple[float, ...]]:
    """The log probability of each token of each answer, without a grammar.

    Several answers about an image are packed in a row; they do not attend to each other.
    """
    network = model.network
    was_training = network.training
    network.eval()
    found: dict[int, tuple[float, ...]] = {}
    rows = list(_rows(targets))
    for start in range(0, len(rows), ROWS):
        chunk = rows[start : start + ROWS]
        chosen = images[[targets[row[0]].image for row in chunk]]
        scores = iter(_scores(model, chosen, [[targets[i] for i in row] for row in chunk]))
        found |= {i: tuple(next(scores) for _ in targets[i].ids) for row in chunk for i in row}
    network.train(was_training)
    return [found[i] for i in range(len(targets))]


def _rows(targets: Sequence[Target]) -> Iterator[list[int]]:
    """Indices of the answers that share a row: a few about one image."""
    by_image: dict[int, list[int]] = {}
    for index, each in enumerate(targets):
        by_image.setdefault(each.image, []).append(index)
    for indices in by_image.values():
        yield from (indices[start : start + ANSWERS] for start in range(0, len(indices), ANSWERS))


def _scores(model: Model, images: ImageBatch, rows: Sequence[Sequence[Target]]) -> list[float]:
    """Log probabilities of the tokens of all answers, row after row."""
    turns = [[Turn(each.question, each.ids) for each in row] for row in rows]
    packed = model.network.pack(model.tokenizer, images, turns).to(model.network.device)
    logits = model.network(**packed.inputs, labels=packed.labels).logits
    wanted = packed.labels[packed.labels != IGNORED].unsqueeze(1)
    return torch.log_softmax(logits.float(), dim=-1).gather(1, wanted).squeeze(1).tolist()
