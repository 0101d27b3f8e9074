"""How likely a model finds given answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vilam.models.tokenization import GroundingTokenizer
from vilam.models.vilam import VilamForConditionalGeneration

IGNORED = -100


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

    All answers about an image are read at once, behind one image prefix, and know nothing of each other.
    """
    if not given:
        return []
    rows: list[list[int]] = [[] for _ in pixel_values]  # indices of what is given about each image
    for index, each in enumerate(given):
        rows[each.image].append(index)
    questions = [tokenizer.encode_question(each.question) for each in given]
    ids = _packed([[[*questions[i], *given[i].ids] for i in row] for row in rows], tokenizer.pad_id)
    labels = _packed([[[IGNORED] * len(questions[i]) + [*given[i].ids] for i in row] for row in rows], IGNORED)
    lengths = [len(question) + len(each.ids) for question, each in zip(questions, given, strict=True)]
    segments = _packed([[[number] * lengths[i] for number, i in enumerate(row, start=1)] for row in rows], 0)
    device = pixel_values.device
    was_training = model.training
    model.eval()
    logits = model(pixel_values, ids.to(device), segments.to(device), labels.to(device)).logits
    model.train(was_training)
    wanted = labels[labels != IGNORED].unsqueeze(1).to(device)
    values = iter(torch.log_softmax(logits.float(), dim=-1).gather(1, wanted).squeeze(1).tolist())
    found = {i: tuple(next(values) for _ in given[i].ids) for row in rows for i in row}
    return [found[i] for i in range(len(given))]


def _packed(rows: Sequence[Sequence[Sequence[int]]], padding: int) -> Tensor:
    """Rows of parts, one after the other, as one tensor (B, L), padded at the right."""
    whole = [torch.tensor([value for part in row for value in part], dtype=torch.long) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(whole, batch_first=True, padding_value=padding)
