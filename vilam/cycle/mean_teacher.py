"""An average of the weights over training: it makes the cycle's pseudo-labels, or is its reference model."""

from __future__ import annotations

import copy
from itertools import chain

import torch
from torch import Tensor

from vilam.models.interface import GroundingModel

Weights = dict[str, Tensor]


class MeanTeacher:
    """``decay`` x its weights + (1 - decay) x the model's, after every optimiser step (mean teacher, arXiv 1703.01780).

    With decay 1 it stays the model of its first call; with 0 it is the model after the last optimiser step. Weights
    that are not trained are the model's own, so that beside adapters it takes little memory.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.network: GroundingModel | None = None
        self.shared: frozenset[str] = frozenset()

    def of(self, network: GroundingModel) -> GroundingModel:
        """The teacher; it begins as a copy of what is trained of the network of the first call."""
        if self.network is None:
            frozen = {name: one for name, one in network.named_parameters() if not one.requires_grad}
            self.shared = frozenset(frozen)
            self.network = copy.deepcopy(network, {id(one): one for one in frozen.values()}).eval()
            self.network.requires_grad_(False)
        return self.network

    @torch.no_grad()
    def follow(self, network: GroundingModel) -> None:
        """Moves the teacher's weights, and statistics such as those of batch normalisation, towards the network's."""
        teacher = self.of(network)
        weights = zip(teacher.parameters(), network.parameters(), strict=True)
        statistics = zip(teacher.buffers(), network.buffers(), strict=True)
        changed = (pair for pair in statistics if not torch.equal(*pair))  # a mask of infinities would become NaN
        for own, other in chain(weights, changed):
            if own is not other and own.is_floating_point():  # not shared, and no counts
                own.lerp_(other, 1 - self.decay)

    def state(self) -> Weights | None:
        """The weights of its own, for a checkpoint; None before the first step."""
        if self.network is None:
            return None
        return {name: value for name, value in self.network.state_dict().items() if name not in self.shared}

    def load(self, state: Weights | None, network: GroundingModel) -> None:
        """Restores what `state` returned, with the shape of ``network``."""
        if state is not None:
            self.of(network).load_state_dict(state, strict=not self.shared)
