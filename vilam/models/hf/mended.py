"""A fault of transformers 5.23 that is mended in a model's own object."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor


def mend(vlm: Any) -> None:
    """Let each row of HunyuanVL count its own pictures.

    Its positions have an axis for the number of a picture, which is counted on through the rows of a batch: logits of a
    row depended on what was before it (findings/row-counts-other-pictures.sh).
    """
    if vlm.config.model_type == "hunyuan_vl":
        inner = vlm.base_model
        inner.get_rope_index = partial(_by_row, type(inner).get_rope_index, inner)


def _by_row(
    own: Any,
    inner: Any,
    input_ids: Tensor,
    mm_token_type_ids: Tensor,
    image_grid_thw: Tensor,
    attention_mask: Tensor,
) -> tuple[Tensor, Tensor]:
    """Positions (A, R, L) in A axes, and how far they lag behind the tokens (R, 1), of rows with a picture each."""
    columns = (input_ids, mm_token_type_ids, image_grid_thw, attention_mask)
    rows = zip(*(torch.split(column, 1) for column in columns), strict=True)
    found, deltas = zip(*(own(inner, *row) for row in rows), strict=True)
    return torch.cat(found, dim=1), torch.cat(deltas)
