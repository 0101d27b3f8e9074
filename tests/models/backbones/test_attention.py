"""Lean attention compared with the implementations of transformers and torch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import toy
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.llama.modeling_llama import eager_attention_forward

from vilam.errors import VilamError
from vilam.models.backbones.attention import lean_attention


def inputs(groups: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries of 4 heads, keys and values of ``groups``, and a mask that hides some keys from each query."""
    rng = torch.Generator().manual_seed(groups)
    query, key, value = (torch.randn(2, heads, 7, 8, generator=rng, dtype=dtype) for heads in (4, groups, groups))
    hidden = torch.rand(2, 1, 7, 7, generator=rng) < 0.4
    hidden[..., 0] = False
    return query, key, value, torch.zeros(hidden.shape, dtype=dtype).masked_fill(hidden, torch.finfo(dtype).min)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_lean_attention_equals_torch_s(groups):
    query, key, value, mask = inputs(groups, torch.float64)
    found, _ = lean_attention(torch.nn.Module(), query, key, value, mask)
    expected = scaled_dot_product_attention(query, key, value, mask, enable_gqa=True)
    torch.testing.assert_close(found.transpose(1, 2), expected)


def test_lean_attention_in_bfloat16_is_as_exact_as_transformers_own():
    query, key, value, mask = inputs(2, torch.float64)
    truth = scaled_dot_product_attention(query, key, value, mask, enable_gqa=True)
    short = [each.bfloat16() for each in (query, key, value, mask)]
    module = SimpleNamespace(num_key_value_groups=2, training=False)
    ours, theirs = (
        attention(module, *short, scaling=8**-0.5)[0].transpose(1, 2).double()
        for attention in (lean_attention, eager_attention_forward)
    )
    assert (ours - truth).abs().mean() < 1.2 * (theirs - truth).abs().mean()


@pytest.mark.parametrize("name", ["softcap", "s_aux"])
def test_unsupported_arguments_are_refused(name):
    with pytest.raises(ValueError, match=f"lean does not support {name}: use eager"):
        lean_attention(torch.nn.Module(), *inputs(4, torch.float32), **{name: torch.ones(4)})


def test_a_language_model_with_a_softcap_is_refused_when_it_is_made():
    language = {"checkpoint": None, "model_type": "gemma2", "config": {**toy.LLAMA, "head_dim": 16}, "frozen": False}
    with pytest.raises(VilamError, match=r"model\.attention: lean does not know the attention of gemma2: use eager"):
        toy.model(language=language, attention="lean")


def test_a_model_runs_with_lean_attention():
    assert toy.model(attention="lean").language.config._attn_implementation == "lean"
