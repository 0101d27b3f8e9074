"""Soft answers: tokens of the second leg's question that carry a gradient to the answer of the first leg.

The first leg (question and sampled answer) is read once more with gradient. Each token t of its answer then has, in the
second leg's question, the embedding

    a word         E[t] + p E - stop(p E)           straight-through: the value of the word, the gradient of p
    a coordinate   A code(v), v = sum_b p_b b       the expectation over the bins of its axis; see CoordinateTokens

with p the model's distribution. A box of such coordinates has soft patches too (`grounder.patch_weights`). Sources:
straight-through, Bengio et al., arXiv 1308.3432. CyCo (arXiv 2312.15162) and SeqTR's soft coordinates have no gradient
here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vilam.models.coordinate_formats import NUM_MARKS


@dataclass(frozen=True, slots=True)
class SoftTokens:
    """Soft tokens of a text: target (M, 2) their rows and columns, embeddings (M, H), coordinates (M,) in [0, 1].

    The coordinate of a word is 0 and has no meaning.
    """

    target: Tensor
    embeddings: Tensor
    coordinates: Tensor

    def embed(self, embeddings: Tensor) -> Tensor:
        """Embeddings (B, L, H) with those of the soft tokens put in."""
        rows, columns = self.target.unbind(1)
        return embeddings.index_put((rows, columns), self.embeddings.to(embeddings.dtype))

    def put_coordinates(self, coordinates: Tensor) -> Tensor:
        """Coordinates (B, L) with those of the soft tokens put in."""
        rows, columns = self.target.unbind(1)
        return coordinates.index_put((rows, columns), self.coordinates.to(coordinates.dtype))


def straight_through(logits: Tensor, tokens: Tensor, table: Tensor) -> Tensor:
    """Embeddings (M, H) of sampled words (M,): their values, with the gradient of softmax(logits) @ table.

    logits (M, W) over the W words of the table (W, H).
    """
    expected = torch.softmax(logits.float(), dim=-1).to(table.dtype) @ table
    return nn.functional.embedding(tokens, table) + expected - expected.detach()


def expected_coordinates(logits: Tensor, offsets: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Coordinates (M,) in [0, 1], as expectations over the bins of a token's own axis, and these axes (M,).

    logits (M, 3 + 2 bins) of the added tokens, offsets (M,) of the sampled ones from the first of them.
    """
    axes = (offsets - NUM_MARKS) // bins
    of_axis = logits[:, NUM_MARKS:].float().view(-1, 2, bins)[torch.arange(len(axes), device=axes.device), axes]
    return torch.softmax(of_axis, dim=-1) @ torch.linspace(0, 1, bins, device=logits.device), axes
