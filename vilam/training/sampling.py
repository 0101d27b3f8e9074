"""The images and instructions of a step: a function of the seed and the step alone, so that a run can resume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from vilam.cycle.examples import Example
from vilam.data.instructions import Instruction
from vilam.draws import Epochs, some
from vilam.errors import VilamError
from vilam.tasks import GROUP_TASKS


def by_image(instructions: Iterable[Instruction]) -> dict[str, dict[str, list[Instruction]]]:
    """Instructions by image and task."""
    grouped: dict[str, dict[str, list[Instruction]]] = {}
    for instruction in instructions:
        grouped.setdefault(instruction.image_id, {}).setdefault(instruction.task, []).append(instruction)
    return grouped


class InstructionSampler:
    """Samples images in epochs (each image once, in an order of the epoch's own) and a few instructions of each.

    tasks: the weight with which each task is sampled, among those that the image has. described_images: the least
    fraction of a step's images that hold a described region; if more of all images do, images are sampled evenly.
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
        self.fraction_described = len(described) / len(self.ids)
        self._described, self._all = Epochs(described, seed, 4), Epochs(self.ids, seed, 1)

    def image_ids(self, step: int, count: int) -> list[str]:
        """The ``count`` images of a step; described ones come first if they are sampled separately."""
        if not 0 < self.fraction_described < self.described_images:
            return self._all.at(step * count, count)
        # Some of the evenly sampled images are described too: they make up the rest of the fraction.
        extra = round(count * (self.described_images - self.fraction_described) / (1 - self.fraction_described))
        evenly = self._all.at(step * (count - extra), count - extra)
        return self._described.at(step * extra, extra) + evenly

    def sample(self, image_id: str, step: int, others: Sequence[Example] = ()) -> list[Example]:
        """Different instructions of an image: a task by weight, and then one of its instructions.

        Together with the ``others`` that the image already has there are up to ``per_image``. The others first replace
        instructions of their own task: an expression replaces another expression rather than a class.
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


def _is_described(by_task: Mapping[str, Sequence[Instruction]]) -> bool:
    """Whether a region of an image has an expression; an expression of a whole group describes none of them."""
    regional = (found for task, found in by_task.items() if task not in GROUP_TASKS)
    return any(each.expression for found in regional for each in found)
