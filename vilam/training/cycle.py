"""The cycle between the two directions: what one leg says is what the other is asked.

With G (REG: region -> expression) and F (REC: expression -> region), the paper's loss is

    L_cycle(G, F) = CE(F(G(x)), x) + CE(G(F(y)), y)

for a region x and an expression y (ViLaM, arXiv 2311.12327; its weights and schedule are not public). The first leg's
answer, the middle, is chosen token by token; cross-entropy through that choice teaches the first leg nothing. What a
mode does about it:

none      nothing: all tasks jointly, the baseline.
pseudo    sg is the stopped gradient, as in back-translation (Sennrich et al., arXiv 1511.06709): each term trains its
          second leg only.
              reg_then_rec   CE(F(sg G(x)), x)                          every region x without words
              rec_then_reg   CE(G(sg F(y)), y)   where F(y) returns     true expressions y
              retell         CE(G(sg F(y')), y') where F(y') returns    y' = sg G(x), what its samples agree on
soft      the same terms, but the tokens of the middle are soft: words straight-through, places by their expectation
          (vilam/models/soft.py), so that the first leg learns too. CyCo (arXiv 2312.15162) cycles this way for box and
          caption.
reward    G and F learn from the rewards of drawn answers (vilam/training/reward.py).

Middles are made anew every ``refresh`` steps for ``images`` pictures; the newest ``kept`` pictures are trained on, a
``share`` of each step's. All weights are ramped in after a supervised start. Guards, see vilam/inference/round_trip.py:
words hold no digits, coordinates or special tokens; words cut off at the length cap and words that lead to several
regions earn nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vilam.config import CycleSettings
from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard
from vilam.evaluation.diversity import diversity
from vilam.inference.answering import Records
from vilam.inference.round_trip import FINDERS, Traveller, Trip
from vilam.models.family import GroundingModel, Tokens
from vilam.training.engine import rank, world_size
from vilam.training.mean_teacher import MeanTeacher
from vilam.training.middles import Middles, Source
from vilam.training.reward import Rewards
from vilam.training.sampling import Epochs, Example, some

BATCH = 32
"""Images that go round at once."""


class Cycle:
    """When the cycle has its turn, the middles that it keeps, and the examples that it makes of them."""

    def __init__(
        self,
        settings: CycleSettings,
        tasks: Mapping[str, float],
        tokenizer: Tokens,
        card: DatasetCard,
        seed: int,
    ) -> None:
        traveller = Traveller(tokenizer, card)
        finders = {task.name for task in FINDERS}
        rec_tasks = {name: weight for name, weight in tasks.items() if weight and name in finders}
        self.settings = settings
        self.seed = seed
        self.middles = Middles(settings, rec_tasks, traveller, seed)
        self.rewards = Rewards(settings, traveller, seed)
        self.teacher = None if settings.teacher is None else MeanTeacher(settings.teacher)
        self.kept: dict[str, list[Example]] = {}

    def weight(self, step: int, steps: int) -> float:
        """How far the weights of the legs have risen, 0..1."""
        if self.settings.mode == "none" or step < self.first(steps):
            return 0.0
        ramp = self.settings.ramp * steps
        return min(1.0, (step + 1 - self.first(steps)) / ramp) if ramp else 1.0

    def first(self, steps: int) -> int:
        """The step at which the cycle begins."""
        return round(self.settings.start * steps)

    def due(self, step: int, steps: int) -> bool:
        """Whether middles are made at this step."""
        since = step - self.first(steps)
        return self.settings.mode != "none" and since >= 0 and since % self.settings.refresh == 0

    def refresh(
        self,
        model: GroundingModel,
        records: Records,
        instructions: Mapping[str, Mapping[str, Sequence[Instruction]]],
        turn: int,
    ) -> dict[str, float]:
        """Make the middles of the ``turn``-th time on all ranks together; returns what was measured on the way.

        instructions: by image and task, as the sampler has them.
        """
        chosen = Epochs(sorted(instructions), self.seed, 5).at(turn * self.settings.images, self.settings.images)
        own = chosen[rank() :: world_size()]
        made: dict[str, list[Example]] = {}
        trips: list[Trip] = []
        for start in range(0, len(own), BATCH):
            ids = own[start : start + BATCH]
            examples, gone = self._go_round(model, [Source(records[i], instructions[i]) for i in ids], turn)
            made.update(zip(ids, examples, strict=True))
            trips += gone
        everything = _gathered((made, trips))
        for image_id in chosen:
            self.kept.pop(image_id, None)
            self.kept[image_id] = next(part[image_id] for part, _ in everything if image_id in part)
        for image_id in list(self.kept)[: -self.settings.kept]:
            del self.kept[image_id]
        return measures([trip for _, gone in everything for trip in gone], self.settings.min_iou)

    def _go_round(
        self, model: GroundingModel, sources: Sequence[Source], turn: int
    ) -> tuple[list[list[Example]], list[Trip]]:
        second = model if self.teacher is None else self.teacher.beside(model)
        if self.settings.mode == "reward":
            return self.rewards.examples(model, second, sources, turn)
        return self.middles.examples(second, sources, turn)

    def draw(self, step: int, batch_size: int, weight: float) -> dict[str, list[Example]]:
        """The images of a step that go round, with some of their examples at this share of their weight."""
        if weight == 0 or not self.kept:
            return {}
        rng = np.random.default_rng([self.seed, 6, step])
        chosen = some(list(self.kept), round(self.settings.share * batch_size), rng)
        return {
            name: [
                replace(each, weight=each.weight * weight)
                for each in some(self.kept[name], self.settings.instructions, rng)
            ]
            for name in chosen
        }

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to hold, so that a run goes on as if it had never stopped."""
        return {"kept": self.kept, "teacher": self.teacher.state() if self.teacher else None}

    def load(self, state: Mapping[str, Any], model: GroundingModel) -> None:
        """Put back what `state` gave."""
        self.kept = dict(state["kept"])
        if self.teacher is not None:
            self.teacher.load(state["teacher"], model)


def measures(trips: Sequence[Trip], min_iou: float) -> dict[str, float]:
    """How the model's own words do: shares that return and that mislead, and diversity."""
    if not trips:
        return {}
    return {
        "cycle_accepted": float(np.mean([trip.returns(min_iou) for trip in trips])),
        "cycle_misleading": float(np.mean([trip.misleads(min_iou) for trip in trips])),
        "cycle_iou": float(np.mean([trip.found.iou for trip in trips])),
        "cycle_confidence": float(np.mean([trip.confidence for trip in trips])),
        **{f"cycle_{name}": value for name, value in diversity([trip.words for trip in trips]).items()},
    }


def _gathered(part: Any) -> list[Any]:
    """The parts of all ranks, in their order."""
    if world_size() == 1:
        return [part]
    parts: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(parts, part)
    return parts
