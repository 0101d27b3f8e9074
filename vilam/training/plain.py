"""A model in training as a plain one with all of its weights, for generating and saving."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from vilam.launch import rank
from vilam.models.interface import GroundingModel


class PlainModel:
    """A model beside DeepSpeed's engine, made before it: the same weights without the hooks that the engine adds.

    Under ZeRO-3 a process holds a part of each weight, and hooks gather the others in every forward pass, which all
    processes take part in. Processes that generate answers of different lengths would wait for each other forever. So
    the weights are gathered once, none is copied, and each process generates by itself.
    """

    def __init__(self, network: GroundingModel, is_sharded: bool) -> None:
        """is_sharded: the engine will leave a part of each weight to this process."""
        self._network = network
        weights = {id(weight): weight for weight in network.parameters()}
        self._unhooked = copy.deepcopy(network, weights) if is_sharded else None

    @contextmanager
    def gathered(self) -> Iterator[GroundingModel]:
        """The model with all weights on every process, as long as the context lasts; all processes enter it."""
        if self._unhooked is None:
            yield self._network
            return
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(self._unhooked.parameters())):
            yield _with_buffers(self._unhooked, self._network).eval()

    def trained(self) -> GroundingModel:
        """The model at the end of training, with all weights on the first process; all processes call it."""
        if self._unhooked is None:
            return self._network
        import deepspeed

        whole: dict[int, nn.Parameter] = {}
        for weight in self._unhooked.parameters():
            with deepspeed.zero.GatheredParameters([weight]):
                if rank() == 0:
                    whole[id(weight)] = nn.Parameter(weight.detach().clone(), weight.requires_grad)
        unhooked = _with_buffers(self._unhooked, self._network).eval()
        return copy.deepcopy(unhooked, whole) if rank() == 0 else unhooked


def _with_buffers(unhooked: GroundingModel, network: GroundingModel) -> GroundingModel:
    """The copied modules with the statistics of those that are trained."""
    for copied, trained in zip(unhooked.modules(), network.modules(), strict=True):
        copied._buffers.update(trained._buffers)
    return unhooked
