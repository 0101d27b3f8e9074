"""What a step of training consists of: an instruction, the weight of its loss, and how the cycle made it."""

from __future__ import annotations

from dataclasses import dataclass

from vilam.data.instructions import Instruction


@dataclass(frozen=True, slots=True)
class Sampled:
    """An answer that a model sampled, as tokens, and its advantage over the others of its group.

    old, reference: the log probability of each token by the model that sampled it, and by the reference model.
    """

    ids: tuple[int, ...]
    advantage: float
    old: tuple[float, ...]
    reference: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FirstLeg:
    """A question and its sampled answer, which is part of the question of another instruction (the second leg)."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Example:
    """An instruction and the weight of its loss.

    sampled: the answer is this one, and learns by its advantage. first: part of the question is the answer of this
    first leg, through which the gradient passes.
    """

    instruction: Instruction
    weight: float = 1.0
    sampled: Sampled | None = None
    first: FirstLeg | None = None
