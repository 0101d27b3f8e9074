"""Which images and instructions a step trains on: a function of the seed and the step alone, so that a run resumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vilam.data.instructions import Instruction
from vilam.errors import VilamError


@dataclass(frozen=True, slots=True)
class Example:
    """An instruction and the weight of its loss."""

    instruction: Instruction
    weight: float = 1.0


def by_image(instructions: Iterable[Instruction]) -> dict[str, dict[str, list[Instruction]]]:
    """Instructions by image and task."""
    grouped: dict[str, dict[str, list[Instruction]]] = {}
    for instruction in instructions:
        grouped.setdefault(instruction.image_id, {}).setdefault(instruction.task, []).append(instruction)
    return grouped


class InstructionSampler:
    """Draws images in epochs (each once, in an order of the epoch's own) and a few instructions of each.

    tasks: the weight with which each task is drawn, among those that the image has.
    """

    def __init__(
        self, instructions: Iterable[Instruction], tasks: Mapping[str, float], per_image: int, seed: int
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

    def image_ids(self, step: int, count: int) -> list[str]:
        """The ``count`` images of a step."""
        first = step * count
        return [self._image_at(position) for position in range(first, first + count)]

    def _image_at(self, position: int) -> str:
        epoch, index = divmod(position, len(self.ids))
        if getattr(self, "_epoch", None) != epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.ids))
        return str(self.ids[int(self._order[index])])

    def draw(self, image_id: str, step: int) -> list[Example]:
        """Up to ``per_image`` different instructions of an image: a task by weight, then one of its instructions."""
        rng = np.random.default_rng([self.seed, 2, step, *image_id.encode()[-8:]])
        by_task = {task: found for task, found in self.images[image_id].items() if task in self.tasks}
        names = list(by_task)
        weights = np.array([self.tasks[name] for name in names])
        picks = rng.choice(len(names), size=self.per_image, p=weights / weights.sum())
        chosen: list[Instruction] = []
        for task, wanted in zip(*np.unique(picks, return_counts=True), strict=True):
            chosen += _some(by_task[names[task]], int(wanted), rng)
        return [Example(instruction) for instruction in chosen]


def _some(instructions: Sequence[Instruction], count: int, rng: np.random.Generator) -> list[Instruction]:
    picks = rng.choice(len(instructions), size=min(count, len(instructions)), replace=False)
    return [instructions[pick] for pick in picks]
