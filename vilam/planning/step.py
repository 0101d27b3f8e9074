"""A step of training on shapes: what it holds at most between its weights and its gradients, and what it computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from vilam.config import OptimiserSettings
from vilam.models.interface import GroundingModel
from vilam.planning.pretence import Pretence
from vilam.planning.sharding import FLOAT, Sharding
from vilam.training.batching import Batch


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes and floating-point operations of the forward and the backward pass.

    inputs: of the batch. saved: what the forward pass keeps for the backward pass. logits: of the answers, among them.
    peak: of all that beside weights and optimiser state, gradients included.
    """

    inputs: int
    saved: int
    logits: int
    peak: int
    flops: int


def run_step(
    network: GroundingModel,
    batch: Batch,
    own: OptimiserSettings,
    dtype: torch.dtype,
    sharding: Sharding,
    pretence: Pretence,
) -> Step:
    """Trains on a batch as `fit` does, but the optimiser."""
    hooks = _Buckets(network, sharding, pretence) if sharding.stage > 0 else None
    network.train()
    with pretence:
        start, flops = pretence.now, pretence.flops
        pretence.peak = start
        for tensor in (batch.labels, batch.weights):
            pretence.hold(tensor)
        inputs = {name: _shown(value, pretence) for name, value in batch.inputs.items()}
        read = pretence.now - start
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            output = network(
                **inputs,
                labels=batch.labels,
                weights=batch.weights,
                coordinate_sigma=own.coordinate_sigma,
                pointing_weight=own.pointing_weight,
            )
        saved = pretence.now - start - read
        logits = output.logits.untyped_storage().nbytes()
        loss = output.loss
        del output
        loss.backward()
    peak = pretence.peak - start
    if hooks is not None:
        hooks.remove()
    network.zero_grad()
    return Step(read, saved, logits, peak, pretence.flops - flops)


def _shown(value: torch.Tensor, pretence: Pretence) -> torch.Tensor:
    """A tensor of the batch: pixels are shapes."""
    shown = pretence.faked(value) if value.is_floating_point() else value
    pretence.hold(shown)
    return shown


class _Buckets:
    """Gradients as ZeRO keeps them from their computation on: in a bucket and, averaged, those of this process."""

    def __init__(self, network: nn.Module, sharding: Sharding, pretence: Pretence) -> None:
        self.sharding, self.pretence = sharding, pretence
        self.waiting = self.own = 0
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        self.hooks = [
            weight.register_post_accumulate_grad_hook(self._take)  # type: ignore[no-untyped-call]
            for weight in trained
        ]

    def _take(self, weight: torch.Tensor) -> None:
        if self.waiting + weight.numel() > self.sharding.bucket:
            self._change(own=-(-self.waiting // self.sharding.processes), waiting=-self.waiting)
        self._change(waiting=weight.numel())
        weight.grad = None

    def _change(self, waiting: int, own: int = 0) -> None:
        self.pretence.add(FLOAT * own)
        self.pretence.add(FLOAT * waiting)
        self.waiting += waiting
        self.own += own

    def remove(self) -> None:
        """Let gradients be again."""
        self._change(-self.waiting, -self.own)
        for hook in self.hooks:
            hook.remove()
