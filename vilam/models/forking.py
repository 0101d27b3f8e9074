"""A prefix that is read once and continued by several rows: its cache of keys, values and states is forked.

It holds for every cache of transformers: full attention, sliding windows and the states of linear attention. A gradient
flows from all rows into the prefix.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
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


class _Roomy(DynamicLayer):  # type: ignore[misc]
    """Keys and values with room for more behind them: transformers' own are copied whole at each new token.

    No gradient flows through them.
    """

    room = 32
    """Tokens that room is made for at once."""
    buffers: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Keys and values (R, heads, T, width) of all tokens, these new ones last."""
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self.buffers is None or end > self.buffers[0].shape[-2]:
            grown = super().update(key_states, value_states, *args, **kwargs)
            self.buffers = _with_room(grown[0], self.room), _with_room(grown[1], self.room)
        else:
            self.buffers[0][:, :, start:end] = key_states
            self.buffers[1][:, :, start:end] = value_states
        self.keys, self.values = self.buffers[0][:, :, :end], self.buffers[1][:, :, :end]
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep these rows; there is no room behind them any more."""
        super().reorder_cache(beam_idx)
        self.buffers = None


def _with_room(states: Tensor, tokens: int) -> Tensor:
    return nn.functional.pad(states, (0, 0, 0, tokens))


def make_room(prefix: Cache) -> None:
    """Let a cache grow in place from here on, where it holds keys and values of all tokens: to generate."""
    for layer in prefix.layers:
        if type(layer) is DynamicLayer:
            layer.__class__ = _Roomy


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
    return all(type(layer) in (DynamicLayer, _Roomy) for layer in prefix.layers)


def positions(mask: Tensor, deltas: Tensor | None = None, axes: int = 3) -> Tensor:
    """The position (R, L) of each token among those of a mask (R, L); (axes, R, L) with deltas (R, 1).

    deltas: how far a picture's positions in time, height and width lag behind the number of its tokens (M-RoPE).
    """
    found = (mask.long().cumsum(1) - 1).clamp_min(0)
    return found if deltas is None else (found + deltas).expand(axes, -1, -1)
