"""Several instructions behind one image prefix: where each begins, its positions, and what its tokens may look at.

``segments`` (B, L) number the instructions of a row, 1 upwards, 0 for padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def segment_starts(segments: Tensor) -> Tensor:
    """Index of the first token of each token's own instruction: (B, L)."""
    index = torch.arange(segments.shape[1], device=segments.device).expand(len(segments), -1)
    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return torch.where(begins, index, 0).cummax(dim=1).values


def packed_offsets(segments: Tensor) -> Tensor:
    """Place of each token in its own instruction, from 0: (B, L)."""
    return torch.arange(segments.shape[1], device=segments.device) - segment_starts(segments)


def packed_mask(segments: Tensor, prefix: int, dtype: torch.dtype) -> Tensor:
    """Additive attention mask (B, 1, prefix + L, prefix + L): 0 where a query may look at a key."""
    batch, length = segments.shape
    whole = torch.cat([segments.new_zeros(batch, prefix), segments], dim=1)
    index = torch.arange(prefix + length, device=segments.device)
    causal = index[:, None] >= index[None, :]
    is_image = index < prefix
    same = whole[:, :, None] == whole[:, None, :]
    seen = ((same | is_image[None, None, :]) & causal).unsqueeze(1)
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)


def padded(rows: Sequence[Sequence[Sequence[float]]], padding: float) -> Tensor:
    """Rows of parts, one after the other, as one tensor (B, L), padded at the right; whole numbers where padding is."""
    whole = [[value for part in row for value in part] for row in rows]
    length = max(map(len, whole))
    dtype = torch.long if isinstance(padding, int) else torch.float32
    return torch.tensor([row + [padding] * (length - len(row)) for row in whole], dtype=dtype)
