"""The text of packed instructions, as the parts of the composed model pass it on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vilam.models.vilam.soft import SoftTokens


@dataclass(frozen=True, slots=True)
class PackedText:
    """The text of packed instructions.

    input_ids (B, L). segments (B, L): the number of each token's instruction in its row, 1 upwards, 0 for padding.
    soft: tokens whose embeddings carry a gradient, if any.
    """

    input_ids: Tensor
    segments: Tensor
    soft: SoftTokens | None = None
