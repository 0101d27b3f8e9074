"""Examples to the tensors that a model takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vilam.models.conventions import Frame
from vilam.models.family import Exchange, GroundingModel, Tokens
from vilam.models.losses import IGNORED, Policy
from vilam.models.packing import padded
from vilam.models.soft import Middle
from vilam.models.tokenization import GroundingTokenizer, lead_in
from vilam.training.sampling import Example, FirstLeg


@dataclass(frozen=True, slots=True)
class Batch:
    """What is asked and answered about B images, as a model takes it.

    inputs, labels (B, L): see `Packed`. weights (B, L): each instruction's weight spread evenly over its answer's
    tokens, so that a class counts as much as the 50 numbers of an outline. policy: of sampled answers, where there are
    any; middle: first legs, likewise.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    weights: Tensor
    policy: Policy | None
    middle: Middle | None

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        return Batch(
            {name: value.to(device) for name, value in self.inputs.items()},
            self.labels.to(device),
            self.weights.to(device),
            None if self.policy is None else self.policy.to(device),
            None if self.middle is None else self.middle.to(device),
        )


@dataclass(frozen=True, slots=True)
class _Answered:
    """An example and the token ids of its answer."""

    example: Example
    ids: tuple[int, ...]


def collate(
    images: Sequence[bytes], examples: Sequence[Sequence[Example]], tokenizer: Tokens, model: GroundingModel
) -> Batch:
    """Pack the examples of each image; images are encoded files."""
    pictures = model.see(images)
    frames = model.frames(pictures)
    rows = [[_answered(each, tokenizer, frame) for each in own] for own, frame in zip(examples, frames, strict=True)]
    exchanges = [[Exchange(each.example.instruction.question, each.ids) for each in row] for row in rows]
    packed = model.pack(tokenizer, pictures, exchanges)
    answered = [each for row in rows for each in row]
    return Batch(
        packed.inputs,
        packed.labels,
        _spread([[each.example.weight / len(each.ids)] * len(each.ids) for each in answered], packed.labels),
        _policy(answered, packed.labels),
        _middle(rows, tokenizer),
    )


def _answered(example: Example, tokenizer: Tokens, frame: Frame) -> _Answered:
    if example.sampled is not None:
        return _Answered(example, example.sampled.ids)
    return _Answered(example, tuple(tokenizer.encode_answer(example.instruction.answer, frame)))


def _spread(values: Sequence[Sequence[float]], labels: Tensor) -> Tensor:
    """Numbers of the answers' tokens, one answer after the other, where these stand: (B, L), 0 elsewhere."""
    spread = torch.zeros(labels.shape, device=labels.device)
    spread[labels != IGNORED] = torch.tensor([value for each in values for value in each], device=labels.device)
    return spread


def _policy(answered: Sequence[_Answered], labels: Tensor) -> Policy | None:
    if not any(each.example.sampled for each in answered):
        return None
    return Policy(
        sampled=_spread([[float(each.example.sampled is not None)] * len(each.ids) for each in answered], labels) > 0,
        advantages=_spread([_known(each, "advantages") for each in answered], labels),
        old=_spread([_known(each, "old") for each in answered], labels),
        reference=_spread([_known(each, "reference") for each in answered], labels),
    )


def _known(answered: _Answered, name: str) -> Sequence[float]:
    sampled = answered.example.sampled
    if sampled is None:
        return [0.0] * len(answered.ids)
    values = {"advantages": [sampled.advantage] * len(sampled.ids), "old": sampled.old, "reference": sampled.reference}
    return values[name]


def _middle(rows: Sequence[Sequence[_Answered]], tokenizer: Tokens) -> Middle | None:
    """The first legs of all rows, and which of their tokens stand where in the questions.

    Only models that are packed have any.
    """
    if not any(each.example.first for row in rows for each in row):
        return None
    assert isinstance(tokenizer, GroundingTokenizer)
    ids: list[list[list[int]]] = [[] for _ in rows]
    pairs: list[tuple[int, int, int, int]] = []
    for row, own in enumerate(rows):
        start = first_start = 0
        for each in own:
            own_question = tokenizer.encode_question(each.example.instruction.question)
            if each.example.first is not None:
                question, answer = _first_leg(each.example.first, tokenizer)
                for token, place in _softened(answer, own_question, tokenizer):
                    pairs.append((row, first_start + len(question) + token, row, start + place))
                ids[row].append(question + answer)
                first_start += len(question) + len(answer)
            start += len(own_question) + len(each.ids)
    if not pairs:
        return None
    numbers = torch.tensor(pairs)
    segments = [[[number] * len(part) for number, part in enumerate(row, start=1)] for row in ids]
    return Middle(padded(ids, tokenizer.pad_id), padded(segments, 0), numbers[:, :2], numbers[:, 2:])


def _first_leg(first: FirstLeg, tokenizer: GroundingTokenizer) -> tuple[list[int], list[int]]:
    return tokenizer.encode_question(first.question), tokenizer.encode(lead_in(first.answer))


def _softened(answer: list[int], question: list[int], tokenizer: GroundingTokenizer) -> Iterator[tuple[int, int]]:
    """Index in the answer and in the question of each token that both have; none where the tokens differ there.

    The mark of a box is no choice of the model and stays as it is. The last place counts: the sentence on the domain,
    which comes first, may hold the same words.
    """
    for start in reversed(range(len(question) - len(answer) + 1)):
        if question[start : start + len(answer)] == answer:
            yield from ((i, start + i) for i, token in enumerate(answer) if token != tokenizer.first_coordinate)
            return
