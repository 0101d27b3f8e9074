"""A prefix that is read once and continued by several rows: its cache of keys, values and states is forked.

It holds for every cache of transformers: full attention, sliding windows and the states of linear attention. A gradient
flows from all rows into the prefix.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import Cache, DynamicLayer, LinearAttentionLayer


class _Replaced(LinearAttentionLayer):  # type: ignore[misc]
    """States that are replaced: transformers 5.23 writes them in place, and the backward pass then finds others."""

    def update_conv_state(self, conv_states: Tensor, state_idx: int = 0, **settings: Any) -> Tensor:
        """Keep the latest inputs of a convolution; returns them behind those that were kept."""
        if self.is_conv_states_initialized[state_idx]:
            self.conv_states[state_idx] = self.conv_states[state_idx].clone()
        found: Tensor = super().update_conv_state(conv_states, state_idx, **settings)
        return found

    def update_recurrent_state(self, recurrent_states: Tensor, state_idx: int = 0, **settings: Any) -> Tensor:
        """Keep a state; returns it."""
        if self.is_recurrent_states_initialized[state_idx]:
            self.recurrent_states[state_idx] = self.recurrent_states[state_idx].clone()
        found: Tensor = super().update_recurrent_state(recurrent_states, state_idx, **settings)
        return found


def _replacing(kind: type[LinearAttentionLayer]) -> type[LinearAttentionLayer]:
    return type(f"Replaced{kind.__name__}", (_Replaced, kind), {})


def new_cache(config: PretrainedConfig) -> DynamicCache:
    """An empty cache for a model, through which a gradient can flow. config: of its language model."""
    made = DynamicCache(config=config)
    for layer in made.layers:
        if isinstance(layer, LinearAttentionLayer):
            layer.__class__ = _replacing(type(layer))
    return made


def fork(prefix: Cache, rows: Tensor) -> None:
    """Let a cache of B prefixes hold R rows instead: rows (R,) has the prefix of each."""
    prefix.reorder_cache(rows)


def ignores_padding(prefix: Cache) -> bool:
    """Whether padding between a prefix and its continuation changes nothing if it is masked.

    A sliding window counts it, and linear attention reads it.
    """
    return all(type(layer) is DynamicLayer for layer in prefix.layers)


def positions(mask: Tensor, deltas: Tensor | None = None) -> Tensor:
    """The position (R, L) of each token among those of a mask (R, L); (3, R, L) with deltas (R, 1).

    deltas: how far a picture's positions in time, height and width lag behind the number of its tokens (M-RoPE).
    """
    found = (mask.long().cumsum(1) - 1).clamp_min(0)
    return found if deltas is None else (found + deltas).expand(3, -1, -1)
