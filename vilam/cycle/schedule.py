"""The cycle's schedule: the rise of its weights, and the optimiser steps at which its examples are renewed."""

from __future__ import annotations

from dataclasses import dataclass

from vilam.config import CycleSettings


@dataclass(frozen=True, slots=True)
class Schedule:
    """The cycle's schedule in a run of ``steps`` optimiser steps."""

    settings: CycleSettings
    steps: int

    @property
    def first(self) -> int:
        """The step at which the cycle begins."""
        return round(self.settings.start * self.steps)

    def weight(self, step: int) -> float:
        """The factor on the weights of the cycle's losses, 0..1."""
        if self.settings.mode == "none" or step < self.first:
            return 0.0
        ramp = self.settings.ramp * self.steps
        return min(1.0, (step + 1 - self.first) / ramp) if ramp else 1.0

    def is_due(self, step: int) -> bool:
        """Whether examples are made at this step."""
        since = step - self.first
        return self.settings.mode != "none" and since >= 0 and since % self.settings.refresh == 0

    def next_due(self, step: int) -> int:
        """The first step behind this one at which examples are made; the end of the run if there is none."""
        return next((one for one in range(step + 1, self.steps) if self.is_due(one)), self.steps)

    def iteration(self, step: int) -> int:
        """The number of times that examples were made before this step."""
        return (step - self.first) // self.settings.refresh
