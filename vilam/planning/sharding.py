"""What DeepSpeed holds by its ZeRO stage: weights, optimiser state, gradients and its own copies of them.

After DeepSpeed 0.19 (runtime/engine.py, runtime/zero/stage_1_and_2.py, stage3.py), for weights in float32 and AdamW.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vilam.errors import VilamError

FLOAT = 4
"""Bytes of a number in float32: trained weights, their gradients and each of Adam's two averages."""
STAGE_0_BUCKET = 500_000_000
"""Gradients that are averaged at once without ZeRO (MEMORY_OPT_ALLREDUCE_SIZE)."""
OFFLOAD = ("offload_optimizer", "offload_param", "zenflow")


@dataclass(frozen=True, slots=True)
class Sharding:
    """A ZeRO stage and the number of processes. bucket, live: gradients, and gathered weights, at once."""

    stage: int
    processes: int
    bucket: int
    live: int

    @classmethod
    def of(cls, config: Mapping[str, Any], processes: int) -> Sharding:
        """From a DeepSpeed file; raises VilamError if it moves anything away from the device."""
        own = config.get("zero_optimization", {})
        if moved := [name for name in OFFLOAD if own.get(name)]:
            raise VilamError(f"zero_optimization.{moved[0]}: vilam plan does not know what it leaves on the device")
        bucket = int(own.get("reduce_bucket_size", STAGE_0_BUCKET))
        return cls(int(own.get("stage", 0)), processes, bucket, int(own.get("stage3_max_live_parameters", 10**9)))

    def weights(self, whole: int) -> int:
        """Bytes of weights of a process between steps, of all weights' bytes."""
        return whole // self.processes if self.stage == 3 else whole

    def gathered(self, whole: int) -> int:
        """Bytes of weights that stage 3 has gathered at once, beside its own."""
        return min(whole - whole // self.processes, FLOAT * self.live) if self.stage == 3 else 0

    def optimiser(self, trained: int) -> int:
        """Bytes of AdamW's averages of a number of trained weights."""
        return 2 * FLOAT * self._own(trained)

    def copies(self, trained: int) -> int:
        """Bytes of the weights that a process updates, which ZeRO copies, in float32 too."""
        return FLOAT * self._own(trained) if self.stage > 0 else 0

    def gradients_at_step(self, trained: int, largest: int) -> int:
        """Bytes of gradients when the optimiser steps or, without ZeRO, when they are averaged: two of each."""
        if self.stage > 0:
            return 2 * FLOAT * self._own(trained)
        return FLOAT * (trained + min(trained, STAGE_0_BUCKET + largest))

    def _own(self, trained: int) -> int:
        return -(-trained // self.processes) if self.stage > 0 else trained
