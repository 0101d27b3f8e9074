"""Layers that compute again on the way back (gradient checkpointing), also where they are frozen beside adapters.

Transformers' layers do so in training mode only, and frozen parts are never in it: their layers alone are, as if they
were, and what these would drop themselves is dropped no more.
"""

from __future__ import annotations

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


def recomputes(module: nn.Module) -> bool:
    """Whether it is a layer that can compute again."""
    return isinstance(module, GradientCheckpointingLayer)


def drop_nothing(layer: nn.Module) -> None:
    """Let a layer of a frozen part, in training mode, have no dropout of its own."""
    for name, value in vars(layer).items():
        if "dropout" in name and isinstance(value, float):
            setattr(layer, name, 0.0)
