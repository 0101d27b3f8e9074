"""The cycle between the two directions: the answer of one leg is part of the question of the other.

With G (REG: region -> expression) and F (REC: expression -> region), the paper's loss is

    L_cycle(G, F) = CE(F(G(x)), x) + CE(G(F(y)), y)

for a region x and an expression y (ViLaM, arXiv 2311.12327; its weights and schedule are not public). The answer of the
first leg is chosen token by token; cross-entropy has no gradient through that choice. The modes differ in how the first
leg learns:

none      No cycle: all tasks jointly, the baseline.
pseudo    The first leg's answer is a pseudo-label. sg is the stopped gradient, as in back-translation (Sennrich et al.,
          arXiv 1511.06709): each loss trains its second leg only.
              reg_then_rec    CE(F(sg G(x)), x)                          every region x without expressions
              rec_then_reg    CE(G(sg F(y)), y)   if F(y) returns        true expressions y
              self_training   CE(G(sg F(y')), y') if F(y') returns       y' = sg G(x), on which its samples agree
soft      The same losses, but the tokens of the first leg's answer are soft: words straight-through, coordinates by
          their expectation (vilam/models/vilam/soft.py), so that the first leg learns too. CyCo (arXiv 2312.15162)
          cycles this way for box and caption.
reward    G and F learn from the rewards of sampled answers (vilam/cycle/reward.py).

Every ``refresh`` optimiser steps, new examples are made for ``images`` images. The newest ``kept`` images are trained
on; they are the fraction ``image_fraction`` of each step's images. All weights rise from 0 after a supervised start.
The checks that keep the cycle from learning nonsense are in vilam/cycle/round_trip.py: expressions hold no digits,
coordinates or special tokens; those that were cut off at the length limit or lead to several regions earn nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vilam.config import CycleSettings
from vilam.cycle.examples import Example
from vilam.cycle.mean_teacher import MeanTeacher
from vilam.cycle.pseudo import PseudoLabeler, Source
from vilam.cycle.reward import Rewards
from vilam.cycle.round_trip import REC_TASKS, RoundTrip
from vilam.cycle.schedule import Schedule
from vilam.data.instructions import Instruction
from vilam.draws import Epochs, some
from vilam.evaluation.captions import diversity
from vilam.inference.answering import Records
from vilam.inference.model import Model
from vilam.launch import ALONE, Processes
from vilam.models.interface import GroundingModel

BATCH = 32
"""Images for which examples are made at once."""


class Cycle:
    """The examples that the cycle keeps, and the teacher that makes them."""

    def __init__(self, settings: CycleSettings, tasks: Mapping[str, float], steps: int, seed: int) -> None:
        """tasks: their weights in training. steps: optimiser steps of the run."""
        rec_tasks = {name: weight for name, weight in tasks.items() if weight and name in REC_TASKS}
        self.settings = settings
        self.schedule = Schedule(settings, steps)
        self.seed = seed
        self.labeler = PseudoLabeler(settings, rec_tasks, seed)
        self.rewards = Rewards(settings, seed)
        self.teacher = None if settings.teacher is None else MeanTeacher(settings.teacher)
        self.kept: dict[str, list[Example]] = {}

    def refresh(
        self,
        model: Model,
        records: Records,
        instructions: Mapping[str, Mapping[str, Sequence[Instruction]]],
        iteration: int,
        processes: Processes = ALONE,
    ) -> dict[str, float]:
        """Makes new examples, all processes together; returns what was measured.

        instructions: by image and task. iteration: how often examples were made before; it decides on the images.
        """
        chosen = Epochs(sorted(instructions), self.seed, 5).at(iteration * self.settings.images, self.settings.images)
        own = chosen[processes.rank :: processes.size]
        made: dict[str, list[Example]] = {}
        round_trips: list[RoundTrip] = []
        for start in range(0, len(own), BATCH):
            ids = own[start : start + BATCH]
            examples, of_batch = self._examples(model, [Source(records[i], instructions[i]) for i in ids], iteration)
            made.update(zip(ids, examples, strict=True))
            round_trips += of_batch
        everything = processes.all_gather((made, round_trips))
        for image_id in chosen:
            self.kept.pop(image_id, None)
            self.kept[image_id] = next(part[image_id] for part, _ in everything if image_id in part)
        for image_id in list(self.kept)[: -self.settings.kept]:
            del self.kept[image_id]
        return measures([each for _, part in everything for each in part], self.settings.min_iou)

    def _examples(
        self, model: Model, sources: Sequence[Source], iteration: int
    ) -> tuple[list[list[Example]], list[RoundTrip]]:
        second = model.network if self.teacher is None else self.teacher.of(model.network)
        if self.settings.mode == "reward":
            return self.rewards.examples(model, second, sources, iteration)
        return self.labeler.examples(replace(model, network=second), sources, iteration)

    def follow(self, network: GroundingModel) -> None:
        """Moves the teacher, if there is one, towards the network that is trained."""
        if self.teacher is not None:
            self.teacher.follow(network)

    def sample(self, step: int, batch_size: int) -> dict[str, list[Example]]:
        """The images of a step that take part in the cycle, with some of their examples, weighted by the schedule."""
        weight = self.schedule.weight(step)
        if weight == 0 or not self.kept:
            return {}
        rng = np.random.default_rng([self.seed, 6, step])
        chosen = some(list(self.kept), round(self.settings.image_fraction * batch_size), rng)
        return {
            name: [
                replace(each, weight=each.weight * weight)
                for each in some(self.kept[name], self.settings.instructions, rng)
            ]
            for name in chosen
        }

    def state(self) -> dict[str, Any]:
        """The content of a checkpoint that lets a run resume as if it had never stopped."""
        return {"kept": self.kept, "teacher": self.teacher.state() if self.teacher else None}

    def load(self, state: Mapping[str, Any], network: GroundingModel) -> None:
        """Restores what `state` returned."""
        self.kept = dict(state["kept"])
        if self.teacher is not None:
            self.teacher.load(state["teacher"], network)


def measures(round_trips: Sequence[RoundTrip], min_iou: float) -> dict[str, float]:
    """How good the model's own expressions are: fractions that return and that are ambiguous, and diversity."""
    if not round_trips:
        return {}
    return {
        "cycle_accepted": float(np.mean([each.returns(min_iou) for each in round_trips])),
        "cycle_ambiguous": float(np.mean([each.is_ambiguous(min_iou) for each in round_trips])),
        "cycle_iou": float(np.mean([each.found.iou for each in round_trips])),
        "cycle_confidence": float(np.mean([each.confidence for each in round_trips])),
        **{f"cycle_{name}": value for name, value in diversity([each.words for each in round_trips]).items()},
    }
