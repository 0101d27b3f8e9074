"""Examples to tensors: all instructions of an image packed behind one image prefix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vilam.models.images import load_pixels
from vilam.models.losses import IGNORED, Policy
from vilam.models.packing import padded
from vilam.models.soft import Middle
from vilam.models.tokenization import GroundingTokenizer, lead_in
from vilam.models.vilam import VilamConfig
from vilam.training.sampling import Example, FirstLeg


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed instructions of B images.

    pixel_values (B, 3, S, S); input_ids, segments, labels (B, L) as VilamForConditionalGeneration takes them;
    weights (B, L): each instruction's weight spread evenly over its answer's tokens, so that a class counts as much as
    the 50 numbers of an outline. policy: of sampled answers, where there are any; middle: first legs, likewise.
    """

    pixel_values: Tensor
    input_ids: Tensor
    segments: Tensor
    labels: Tensor
    weights: Tensor
    policy: Policy | None
    middle: Middle | None

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        names = ("pixel_values", "input_ids", "segments", "labels", "weights")
        return replace(
            self,
            **{name: getattr(self, name).to(device) for name in names},
            policy=None if self.policy is None else self.policy.to(device),
            middle=None if self.middle is None else self.middle.to(device),
        )


@dataclass(frozen=True, slots=True)
class _Packed:
    """One example as tokens."""

    question: list[int]
    answer: list[int]
    example: Example

    def __len__(self) -> int:
        return len(self.question) + len(self.answer)

    def spread(self, before: float, values: Sequence[float]) -> list[float]:
        """``before`` for each token of the question, then the values of the answer's tokens."""
        return [before] * len(self.question) + list(values)


def collate(
    images: Sequence[bytes], examples: Sequence[Sequence[Example]], tokenizer: GroundingTokenizer, config: VilamConfig
) -> Batch:
    """Pack the examples of each image; images are encoded files."""
    rows = [[_pack(example, tokenizer) for example in own] for own in examples]
    return Batch(
        pixel_values=load_pixels(images, config),
        input_ids=padded([[each.question + each.answer for each in row] for row in rows], tokenizer.pad_id),
        segments=padded([[[number] * len(each) for number, each in enumerate(row, start=1)] for row in rows], 0),
        labels=padded([[each.spread(IGNORED, each.answer) for each in row] for row in rows], IGNORED),
        weights=padded([[each.spread(0.0, _weights(each)) for each in row] for row in rows], 0.0),
        policy=_policy(rows),
        middle=_middle(rows, tokenizer),
    )


def _pack(example: Example, tokenizer: GroundingTokenizer) -> _Packed:
    question = tokenizer.encode_question(example.instruction.question)
    if example.sampled is not None:
        return _Packed(question, list(example.sampled.ids), example)
    return _Packed(question, tokenizer.encode_answer(example.instruction.answer), example)


def _weights(packed: _Packed) -> list[float]:
    return [packed.example.weight / len(packed.answer)] * len(packed.answer)


def _policy(rows: Sequence[Sequence[_Packed]]) -> Policy | None:
    if not any(each.example.sampled for row in rows for each in row):
        return None

    return Policy(
        sampled=padded([[[int(each.example.sampled is not None)] * len(each) for each in row] for row in rows], 0) > 0,
        advantages=padded([[_known(each, "advantages") for each in row] for row in rows], 0.0),
        old=padded([[_known(each, "old") for each in row] for row in rows], 0.0),
        reference=padded([[_known(each, "reference") for each in row] for row in rows], 0.0),
    )


def _known(packed: _Packed, name: str) -> list[float]:
    sampled = packed.example.sampled
    if sampled is None:
        return [0.0] * len(packed)
    values = {"advantages": [sampled.advantage] * len(sampled.ids), "old": sampled.old, "reference": sampled.reference}
    return packed.spread(0.0, values[name])


def _middle(rows: Sequence[Sequence[_Packed]], tokenizer: GroundingTokenizer) -> Middle | None:
    """The first legs of all rows, and which of their tokens stand where in the questions."""
    ids: list[list[list[int]]] = [[] for _ in rows]
    pairs: list[tuple[int, int, int, int]] = []
    for row, own in enumerate(rows):
        start = first_start = 0
        for each in own:
            if each.example.first is not None:
                question, answer = _first_leg(each.example.first, tokenizer)
                for token, place in _softened(answer, each.question, tokenizer):
                    pairs.append((row, first_start + len(question) + token, row, start + place))
                ids[row].append(question + answer)
                first_start += len(question) + len(answer)
            start += len(each)
    if not pairs:
        return None
    numbers = torch.tensor(pairs)
    segments = [[[number] * len(part) for number, part in enumerate(row, start=1)] for row in ids]
    return Middle(padded(ids, tokenizer.pad_id), padded(segments, 0), numbers[:, :2], numbers[:, 2:])


def _first_leg(first: FirstLeg, tokenizer: GroundingTokenizer) -> tuple[list[int], list[int]]:
    return tokenizer.encode_question(first.question), tokenizer.encode(lead_in(first.answer))


def _softened(answer: list[int], question: list[int], tokenizer: GroundingTokenizer) -> Iterator[tuple[int, int]]:
    """Index in the answer and in the question of each token that both have; none where the tokens differ there.

    The mark of a box is no choice of the model and stays as it is.
    """
    for start in range(len(question) - len(answer) + 1):
        if question[start : start + len(answer)] == answer:
            yield from ((i, start + i) for i, token in enumerate(answer) if token != tokenizer.first_coordinate)
            return
