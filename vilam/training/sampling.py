"""Which images and instructions a step trains on: a function of the seed and the step alone, so that a run resumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from vilam.data.instructions import Instruction
from vilam.errors import VilamError
from vilam.tasks import GROUP_TASKS

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Sampled:
    """An answer that a model drew, as tokens, and its advantage over the others of its group.

    old, reference: the log probability of each token by the model that drew it, and by the one that it shall stay near.
    """

    ids: tuple[int, ...]
    advantage: float
    old: tuple[float, ...]
    reference: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FirstLeg:
    """A question and the sampled answer that stands in the question of another instruction."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Example:
    """An instruction and the weight of its loss.

    sampled: the answer is this one, and learns by its advantage. first: a part of the question is the answer of this
    first leg, through which the gradient passes.
    """

    instruction: Instruction
    weight: float = 1.0
    sampled: Sampled | None = None
    first: FirstLeg | None = None


def by_image(instructions: Iterable[Instruction]) -> dict[str, dict[str, list[Instruction]]]:
    """Instructions by image and task."""
    grouped: dict[str, dict[str, list[Instruction]]] = {}
    for instruction in instructions:
        grouped.setdefault(instruction.image_id, {}).setdefault(instruction.task, []).append(instruction)
    return grouped


class InstructionSampler:
    """Draws images in epochs (each once, in an order of the epoch's own) and a few instructions of each.

    tasks: the weight with which each task is drawn, among those that the image has. described_images: share of the
    images of a step, at least, that hold a described region; where more of all images do, images are drawn evenly.
    """

    def __init__(
        self,
        instructions: Iterable[Instruction],
        tasks: Mapping[str, float],
        per_image: int,
        seed: int,
        described_images: float = 0.0,
    ) -> None:
        self.tasks = {name: weight for name, weight in tasks.items() if weight > 0}
        self.images = {
            image_id: by_task
            for image_id, by_task in by_image(instructions).items()
            if any(task in self.tasks for task in by_task)
        }
        self.ids = sorted(self.images)
        if not self.ids:
            raise VilamError(f"no training image has a question of {sorted(tasks)}: check the tasks and their weights")
        self.per_image = per_image
        self.seed = seed
        self.described_images = described_images
        described = [image_id for image_id in self.ids if _is_described(self.images[image_id])]
        self.described_share = len(described) / len(self.ids)
        self._described, self._all = Epochs(described, seed, 4), Epochs(self.ids, seed, 1)

    def image_ids(self, step: int, count: int) -> list[str]:
        """The ``count`` images of a step, described ones first where they are drawn apart."""
        if not 0 < self.described_share < self.described_images:
            return self._all.at(step * count, count)
        # Of the images drawn evenly, some are described too: these make up the rest of the share.
        apart = round(count * (self.described_images - self.described_share) / (1 - self.described_share))
        evenly = self._all.at(step * (count - apart), count - apart)
        return self._described.at(step * apart, apart) + evenly

    def draw(self, image_id: str, step: int, others: Sequence[Example] = ()) -> list[Example]:
        """Different instructions of an image, a task by weight and then one of its instructions.

        Up to ``per_image`` with the ``others`` that the image has already. These take the places of their own tasks
        first: a caption keeps out another caption rather than a class.
        """
        rng = np.random.default_rng([self.seed, 2, step, *image_id.encode()[-8:]])
        by_task = {task: found for task, found in self.images[image_id].items() if task in self.tasks}
        names = list(by_task)
        weights = np.array([self.tasks[name] for name in names])
        picks = [names[pick] for pick in rng.choice(len(names), size=self.per_image, p=weights / weights.sum())]
        for other in others[: self.per_image]:
            picks.remove(other.instruction.task if other.instruction.task in picks else picks[-1])
        chosen: list[Instruction] = []
        for task in names:
            if task in picks:
                chosen += some(by_task[task], picks.count(task), rng)
        return [Example(instruction) for instruction in chosen]


class Epochs:
    """Names in endless epochs, each in an order of its own."""

    def __init__(self, names: Sequence[str], seed: int, purpose: int) -> None:
        self.names, self.seed, self.purpose = names, seed, purpose
        self._epoch = -1

    def at(self, first: int, count: int) -> list[str]:
        """The names at ``count`` places from ``first`` on."""
        return [self._name(place) for place in range(first, first + count)]

    def _name(self, place: int) -> str:
        epoch, index = divmod(place, len(self.names))
        if self._epoch != epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, self.purpose, epoch]).permutation(len(self.names))
        return self.names[int(self._order[index])]


def _is_described(by_task: Mapping[str, Sequence[Instruction]]) -> bool:
    """Whether some region of an image has words; words of a whole group of regions describe none of them."""
    regional = (found for task, found in by_task.items() if task not in GROUP_TASKS)
    return any(each.expression for found in regional for each in found)


def some(things: Sequence[Thing], count: int, rng: np.random.Generator) -> list[Thing]:
    """``count`` of them, or all where there are fewer, in an order of chance."""
    return [things[pick] for pick in rng.choice(len(things), size=min(count, len(things)), replace=False)]
