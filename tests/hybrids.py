"""Tiny language models that pass states from token to token, or look at a window of tokens."""

from __future__ import annotations

from typing import Any

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}
GATED = {**SMALL, **LINEAR, "intermediate_size": 64, "num_key_value_heads": 1}
BOTH = ["linear_attention", "full_attention"]
MAMBA = {"mamba_d_state": 16, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_expand": 2, "mamba_n_groups": 1}
NEMOTRON = {"mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 1, "num_key_value_heads": 1}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1, "shared_intermediate_size": 32}
HYBRIDS: dict[str, dict[str, Any]] = {
    "qwen3_5_text": {**GATED, "head_dim": 16, "layer_types": BOTH},
    "qwen3_next": {**GATED, "head_dim": 16, "layer_types": BOTH, "num_experts": 2, "num_experts_per_tok": 1},
    "olmo_hybrid": {**GATED, "layer_types": BOTH},
    "falcon_h1": {**SMALL, **MAMBA, "intermediate_size": 64, "num_key_value_heads": 1, "mamba_d_ssm": 64},
    "granitemoehybrid": {**SMALL, **MAMBA, **EXPERTS, "intermediate_size": 64, "layer_types": ["mamba", "attention"]},
    "lfm2": {**SMALL, "intermediate_size": 64, "num_key_value_heads": 1, "layer_types": ["conv", "full_attention"]},
    "nemotron_h": {**SMALL, **NEMOTRON, "intermediate_size": 64, "layers_block_type": ["mamba", "attention"]},
    "gemma3_text": {**SMALL, "intermediate_size": 64, "head_dim": 16, "sliding_window": 8, "num_key_value_heads": 1},
}
"""The configs of transformers by model_type."""
