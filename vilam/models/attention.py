"""Attention in the precision of its inputs: the quickest on a CPU, where a mask lets no fused kernel help.

transformers' eager attention takes the softmax in float32 and copies it back and forth; torch's softmax of bfloat16
adds up in float32 already. Otherwise the two are alike (docs/tiny.md has the times).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

LEAN = "lean"
"""Its name among transformers' implementations."""
UNKNOWN = ("softcap", "s_aux")
"""What some language models hand to their attention besides."""


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

    Raises ValueError for attention with what it does not know: a softcap (Gemma 2) or sinks (GPT-OSS).
    """
    for name in UNKNOWN:
        if others.get(name) is not None:
            raise ValueError(f"attention {LEAN} knows no {name}: use eager")
    each = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(each, dim=1) if each > 1 else part for part in (key, value))
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores + attention_mask.to(scores.dtype)
    shares = nn.functional.dropout(torch.softmax(scores, dim=-1), dropout, module.training)
    return (shares @ value).transpose(1, 2).contiguous(), None


def register_attention() -> None:
    """Let transformers find it by its name."""
    AttentionInterface.register(LEAN, lean_attention)
    AttentionMaskInterface.register(LEAN, eager_mask)
