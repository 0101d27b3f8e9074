"""The cache that grows in place holds what transformers' own does."""

from __future__ import annotations

import torch
from transformers import DynamicCache, LlamaConfig

from vilam.models.forking import fork, make_room, new_cache


def test_a_cache_with_room_holds_what_transformers_own_does() -> None:
    config = LlamaConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    generator = torch.Generator().manual_seed(0)

    def states(rows: int, tokens: int) -> torch.Tensor:
        return torch.randn(rows, 2, tokens, 4, generator=generator)

    expected, found = DynamicCache(config=config), new_cache(config)
    begin = states(2, 3)
    for cache in (expected, found):
        cache.update(begin, -begin, 0)
    make_room(found)
    for rows, tokens in [(2, 5), (2, 40), (2, 1), (3, 1), (3, 1), (3, 60), (1, 1), (1, 2)]:
        if rows != found.layers[0].keys.shape[0]:
            chosen = torch.tensor({3: [1, 0, 1], 1: [2]}[rows])
            for cache in (expected, found):
                fork(cache, chosen)
        new = states(rows, tokens)
        keys, values = found.update(new, -new, 0)
        wanted_keys, wanted_values = expected.update(new, -new, 0)
        assert torch.equal(keys, wanted_keys)
        assert torch.equal(values, wanted_values)
        assert found.get_seq_length() == expected.get_seq_length()
