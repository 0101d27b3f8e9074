"""The model as plain tensors, for generating and saving, however DeepSpeed has sharded it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vilam.models.interface import GroundingModel

SHARDED_PARAMETERS = 3
"""The ZeRO stage from which on a process holds only a part of each weight."""


@contextmanager
def plain_model(engine: Any, model: GroundingModel) -> Iterator[GroundingModel]:
    """The engine's model itself, or a gathered copy of it under ZeRO-3.

    Under ZeRO-3 every forward pass is a collective call, and processes that generate answers of different lengths would
    wait for each other forever. With a copy each of them generates by itself.
    """
    if engine.zero_optimization_stage() < SHARDED_PARAMETERS:
        yield engine.module
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(engine.module.parameters())):
        weights = {name: value.detach().clone() for name, value in engine.module.state_dict().items()}
    replica = model.new_like()
    replica.load_state_dict(weights)
    yield replica.to(torch.device(engine.device)).eval()
