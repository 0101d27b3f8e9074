"""A second copy of the weights that follows the first: it makes the middles of the cycle, and is its reference."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from vilam.models.family import GroundingModel

Weights = dict[str, Tensor]


class MeanTeacher:
    """``decay`` x its weights + (1 - decay) x the model's, at every step (mean teacher, arXiv 1703.01780).

    With decay 1 it stays what it was when it first saw the model, with 0 it is the model of the last step.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.model: GroundingModel | None = None

    def beside(self, model: GroundingModel) -> GroundingModel:
        """The teacher; the first time, it begins as a copy of the model."""
        if self.model is None:
            self.model = _copy(model)
        return self.model

    @torch.no_grad()
    def follow(self, model: GroundingModel) -> None:
        """Go a step towards the model."""
        for own, other in zip(self.beside(model).parameters(), model.parameters(), strict=True):
            own.lerp_(other, 1 - self.decay)

    def state(self) -> Weights | None:
        """The weights, for a checkpoint; None before the first step."""
        return None if self.model is None else self.model.state_dict()

    def load(self, state: Weights | None, model: GroundingModel) -> None:
        """Put back what `state` gave, with the shape of ``model``."""
        if state is not None:
            self.model = _copy(model)
            self.model.load_state_dict(state)


def _copy(model: GroundingModel) -> GroundingModel:
    copied: GroundingModel = copy.deepcopy(model).eval()
    copied.requires_grad_(False)
    return copied
