"""What an optimiser step trains on: instructions, the weights of their losses, and how the cycle made them."""

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

    sampled: the sampled answer, which is trained by its advantage. first: the first leg whose answer is part of the
    question; the gradient passes through it.
    """

    instruction: Instruction
    weight: float = 1.0
    sampled: Sampled | None = None
    first: FirstLeg | None = None
