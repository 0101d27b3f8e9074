"""Several instructions behind one image prefix: their tokens, their positions, and what each token attends to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vilam.models.losses import IGNORED


def segment_starts(segments: Tensor) -> Tensor:
    """The index of the first token of each token's own instruction: (B, L)."""
    index = torch.arange(segments.shape[1], device=segments.device).expand(len(segments), -1)
    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return torch.where(begins, index, 0).cummax(dim=1).values


def packed_offsets(segments: Tensor) -> Tensor:
    """The position of each token in its own instruction, from 0: (B, L)."""
    return torch.arange(segments.shape[1], device=segments.device) - segment_starts(segments)


def packed_mask(segments: Tensor, prefix: int, dtype: torch.dtype) -> Tensor:
    """The additive attention mask (B, 1, prefix + L, prefix + L): 0 where a query may attend to a key."""
    batch, length = segments.shape
    whole = torch.cat([segments.new_zeros(batch, prefix), segments], dim=1)
    index = torch.arange(prefix + length, device=segments.device)
    causal = index[:, None] >= index[None, :]
    is_image = index < prefix
    same = whole[:, :, None] == whole[:, None, :]
    allowed = ((same | is_image[None, None, :]) & causal).unsqueeze(1)
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)


def unpacked(segments: Tensor) -> tuple[Tensor, Tensor]:
    """Each instruction of (B, L) as a row of its own: its image (R,), and the columns (R, M) of its tokens, then -1."""
    starts = segment_starts(segments)
    begins = (starts == torch.arange(segments.shape[1], device=segments.device)) & (segments > 0)
    images, first = begins.nonzero(as_tuple=True)  # (R,) each
    lengths = ((starts[images] == first.unsqueeze(1)) & (segments[images] > 0)).sum(1)
    steps = torch.arange(int(lengths.max()), device=segments.device)
    return images, (first.unsqueeze(1) + steps).masked_fill(steps >= lengths.unsqueeze(1), -1)


def packed(rows: Sequence[Sequence[tuple[list[int], list[int]]]], pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """The ids, segments and labels (B, L) of rows of questions and answers, one after the other."""
    ids = [[question + answer for question, answer in row] for row in rows]
    segments = [[[number] * len(both) for number, both in enumerate(row, 1)] for row in ids]
    labels = [[[IGNORED] * len(question) + answer for question, answer in row] for row in rows]
    return padded(ids, pad_id), padded(segments, 0), padded(labels, IGNORED)


def by_length(texts: Sequence[Sequence[int]]) -> list[list[int]]:
    """The numbers of the texts of each length."""
    found: dict[int, list[int]] = {}
    for number, ids in enumerate(texts):
        found.setdefault(len(ids), []).append(number)
    return [*found.values()]


def padded(rows: Sequence[Sequence[Sequence[float]]], padding: float) -> Tensor:
    """Rows of parts, concatenated and padded on the right, as one tensor (B, L); integers if the padding is one."""
    flat = [[value for part in row for value in part] for row in rows]
    length = max(map(len, flat))
    dtype = torch.long if isinstance(padding, int) else torch.float32
    return torch.tensor([row + [padding] * (length - len(row)) for row in flat], dtype=dtype)
