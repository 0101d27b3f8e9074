"""A middle through which the gradient passes: what one leg of the cycle says, as soft tokens of the other's question.

The first leg (question and sampled answer) is read once more with gradient. Each of its answer's tokens t then stands
in the second leg's question as

    a word    E[t] + p E - stop(p E)         straight-through: the value of the word, the gradient of its distribution p
    a place   A code(v), v = sum_b p_b b     the expectation over the places of its axis; code as in CoordinateTokens

and a box made of such places has soft patches too (see `box_shares`). Straight-through: Bengio et al.,
arXiv 1308.3432; as a cycle's middle: CyCo, arXiv 2312.15162, has no gradient here, SeqTR's soft coordinates neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vilam.models.coordinates import NUM_MARKS


@dataclass(frozen=True, slots=True)
class Middle:
    """First legs packed as (B, L1) input_ids and segments, and the M of their tokens that are softened.

    source (M, 2): row and column of a token among them; target (M, 2): its row and column in the second legs' ids.
    """

    input_ids: Tensor
    segments: Tensor
    source: Tensor
    target: Tensor

    def to(self, device: torch.device | str) -> Middle:
        """The same on another device."""
        return Middle(*(getattr(self, name).to(device) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Softened:
    """The softened tokens: where they stand (M, 2), their embeddings (M, hidden), their places in [0, 1] (M,).

    Places of words are 0 and mean nothing.
    """

    target: Tensor
    embeddings: Tensor
    places: Tensor

    def embed(self, embeddings: Tensor) -> Tensor:
        """Embeddings (B, L, hidden) with those of the softened tokens in their places."""
        rows, columns = self.target.unbind(1)
        return embeddings.index_put((rows, columns), self.embeddings.to(embeddings.dtype))

    def place(self, places: Tensor) -> Tensor:
        """Places (B, L) with those of the softened tokens."""
        rows, columns = self.target.unbind(1)
        return places.index_put((rows, columns), self.places.to(places.dtype))


def straight_through(logits: Tensor, tokens: Tensor, table: Tensor) -> Tensor:
    """Embeddings (M, hidden) of sampled words (M,): those of the words, with the gradient of softmax(logits) @ table.

    logits (M, W) of the W words of the table (W, hidden).
    """
    expected = torch.softmax(logits.float(), dim=-1).to(table.dtype) @ table
    return nn.functional.embedding(tokens, table) + expected - expected.detach()


def expected_places(logits: Tensor, offsets: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Places (M,) in [0, 1] and axes (M,) of coordinate tokens, as expectations over the bins of a token's own axis.

    logits (M, 3 + 2 bins) of the added tokens, offsets (M,) of the sampled ones from the first of them.
    """
    axes = (offsets - NUM_MARKS) // bins
    of_axis = logits[:, NUM_MARKS:].float().view(-1, 2, bins)[torch.arange(len(axes), device=axes.device), axes]
    return torch.softmax(of_axis, dim=-1) @ torch.linspace(0, 1, bins, device=logits.device), axes
