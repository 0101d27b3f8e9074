"""Attention in the precision of its inputs: the fastest on a CPU, because fused kernels do not help with masks there.

transformers' eager attention converts to float32 for the softmax and back; torch's softmax of bfloat16 accumulates in
float32 already. Otherwise the two are the same (docs/tiny.md has the times).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LEAN = "lean"
"""Its name among transformers' implementations."""
UNSUPPORTED = ("softcap", "s_aux")
"""Arguments of some language models' attention that raise an error."""


def lean_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """query (B, heads, L, D), key and value (B, groups, M, D), additive mask (B, 1, L, M) -> (B, L, heads, D).

    Raises ValueError for a softcap (Gemma 2) or attention sinks (GPT-OSS), which it does not support.
    """
    for name in UNSUPPORTED:
        if others.get(name) is not None:
            raise ValueError(f"attention {LEAN} does not support {name}: use eager")
    repeats = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(repeats, dim=1) if repeats > 1 else part for part in (key, value))
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores + attention_mask.to(scores.dtype)
    weights = nn.functional.dropout(torch.softmax(scores, dim=-1), dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), None
