"""Examples to the tensors that a model takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vilam.cycle.examples import Example
from vilam.inference.model import Model
from vilam.models.coordinate_formats import Frame
from vilam.models.interface import SoftAnswers, Tokens, Turn
from vilam.models.losses import IGNORED, Policy
from vilam.models.packing import padded
from vilam.models.vilam.tokenization import GroundingTokenizer, add_answer_prefix


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions and answers about B images, as a model takes them.

    inputs, labels (B, L): see `Packed`. weights (B, L): each instruction's weight, divided evenly among its answer's
    tokens, so that a class counts as much as the 50 numbers of a polygon. policy: of sampled answers, None without any.
    soft_answers: the first legs of the mode `soft`, None without any.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    weights: Tensor
    policy: Policy | None
    soft_answers: SoftAnswers | None

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        return Batch(
            {name: value.to(device, non_blocking=True) for name, value in self.inputs.items()},
            self.labels.to(device, non_blocking=True),
            self.weights.to(device, non_blocking=True),
            None if self.policy is None else self.policy.to(device),
            None if self.soft_answers is None else self.soft_answers.to(device),
        )

    def pin_memory(self) -> Batch:
        """The same in memory that a GPU reads by itself."""
        return Batch(
            {name: value.pin_memory() for name, value in self.inputs.items()},
            self.labels.pin_memory(),
            self.weights.pin_memory(),
            None if self.policy is None else self.policy.pin_memory(),
            None if self.soft_answers is None else self.soft_answers.pin_memory(),
        )


@dataclass(frozen=True, slots=True)
class _Answered:
    """An example and the token ids of its answer."""

    example: Example
    ids: tuple[int, ...]


def collate(model: Model, images: Sequence[bytes], examples: Sequence[Sequence[Example]]) -> Batch:
    """Packs the examples of each image; images are encoded files."""
    network, tokenizer = model.network, model.tokenizer
    pixels = network.preprocess(images)
    rows = [
        [_with_ids(each, tokenizer, frame) for each in of_image]
        for of_image, frame in zip(examples, network.frames(pixels), strict=True)
    ]
    turns = [[Turn(each.example.instruction.question, each.ids) for each in row] for row in rows]
    packed = network.pack(tokenizer, pixels, turns)
    answered = [each for row in rows for each in row]
    weights = [[each.example.weight / len(each.ids)] * len(each.ids) for each in answered]
    return Batch(
        packed.inputs,
        packed.labels,
        _at_labels(weights, packed.labels),
        _policy(answered, packed.labels),
        _soft_answers(rows, model),
    )


def _with_ids(example: Example, tokenizer: Tokens, frame: Frame) -> _Answered:
    if example.sampled is not None:
        return _Answered(example, example.sampled.ids)
    return _Answered(example, tuple(tokenizer.encode_answer(example.instruction.answer, frame)))


def _at_labels(values: Sequence[Sequence[float]], labels: Tensor) -> Tensor:
    """The numbers of the answers' tokens, answer by answer, at the positions of these tokens: (B, L), 0 elsewhere."""
    tensor = torch.zeros(labels.shape, device=labels.device)
    tensor[labels != IGNORED] = torch.tensor([value for each in values for value in each], device=labels.device)
    return tensor


def _policy(answered: Sequence[_Answered], labels: Tensor) -> Policy | None:
    if not any(each.example.sampled for each in answered):
        return None
    is_sampled, advantages, old, reference = [], [], [], []
    for each in answered:
        sampled, zeros = each.example.sampled, (0.0,) * len(each.ids)
        is_sampled.append([float(sampled is not None)] * len(each.ids))
        advantages.append([sampled.advantage if sampled else 0.0] * len(each.ids))
        old.append(sampled.old if sampled else zeros)
        reference.append(sampled.reference if sampled else zeros)
    return Policy(
        sampled=_at_labels(is_sampled, labels) > 0,
        advantages=_at_labels(advantages, labels),
        old=_at_labels(old, labels),
        reference=_at_labels(reference, labels),
    )


def _soft_answers(rows: Sequence[Sequence[_Answered]], model: Model) -> SoftAnswers | None:
    """The first legs of all rows, and the positions of their tokens in the questions.

    Only the composed model supports them, because it packs the questions of an image.
    """
    if not any(each.example.first for row in rows for each in row):
        return None
    tokenizer = model.tokenizer
    assert isinstance(tokenizer, GroundingTokenizer)
    ids: list[list[list[int]]] = [[] for _ in rows]
    pairs: list[tuple[int, int, int, int]] = []
    for row, of_image in enumerate(rows):
        start = first_start = 0
        for each in of_image:
            second_question = tokenizer.encode_question(each.example.instruction.question)
            if (first := each.example.first) is not None:
                question = tokenizer.encode_question(first.question)
                answer = tokenizer.encode(add_answer_prefix(first.answer))
                for token, position in _positions(answer, second_question, tokenizer):
                    pairs.append((row, first_start + len(question) + token, row, start + position))
                ids[row].append(question + answer)
                first_start += len(question) + len(answer)
            start += len(second_question) + len(each.ids)
    if not pairs:
        return None
    numbers = torch.tensor(pairs)
    segments = [[[number] * len(part) for number, part in enumerate(row, start=1)] for row in ids]
    return SoftAnswers(padded(ids, tokenizer.pad_id), padded(segments, 0), numbers[:, :2], numbers[:, 2:])


def _positions(answer: list[int], question: list[int], tokenizer: GroundingTokenizer) -> Iterator[tuple[int, int]]:
    """The index in the answer and in the question of each token of the answer; none if the question does not hold it.

    The mark of a box is not soft, because the model does not choose it. The last occurrence counts: the sentence about
    the domain, which comes first, may hold the same words.
    """
    for start in reversed(range(len(question) - len(answer) + 1)):
        if question[start : start + len(answer)] == answer:
            yield from ((i, start + i) for i, token in enumerate(answer) if token != tokenizer.first_coordinate)
            return
