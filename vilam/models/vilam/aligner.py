"""Alignment layers: patch features of the vision tower to tokens of the language model's width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NUM_HEADS = 4


class MlpAligner(nn.Module):
    """Two layers on each patch: as many image tokens as patches (LLaVA-1.5, arXiv 2310.03744)."""

    def __init__(self, vision_width: int, hidden_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(vision_width)
        self.layers = nn.Sequential(
            nn.Linear(vision_width, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size)
        )

    def forward(self, patches: Tensor, positions: Tensor) -> Tensor:
        """Patches (B, N, vision_width) and embeddings of their positions (N, hidden) -> (B, N, hidden)."""
        projected: Tensor = self.layers(self.norm(patches))
        return projected + positions

    @torch.no_grad()
    def resize(self, size: float) -> None:
        """Lets new image tokens be about ``size`` large; torch's own initialisation makes them a third of 1 or less."""
        for value in self.layers[-1].parameters():
            value.mul_(3 * size)


class QueryBlock(nn.Module):
    """Learned queries attend to the patches; with ``mix`` they attend to each other first."""

    def __init__(self, width: int, mix: bool) -> None:
        super().__init__()
        self.mix = nn.MultiheadAttention(width, NUM_HEADS, batch_first=True) if mix else None
        self.mix_norm = nn.LayerNorm(width) if mix else None
        self.read = nn.MultiheadAttention(width, NUM_HEADS, batch_first=True)
        self.read_norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, queries: Tensor, patches: Tensor) -> Tensor:
        """(B, Q, width), (B, N, width) -> (B, Q, width)."""
        if self.mix is not None and self.mix_norm is not None:
            normed = self.mix_norm(queries)
            queries = queries + self.mix(normed, normed, normed, need_weights=False)[0]
        queries = queries + self.read(self.read_norm(queries), patches, patches, need_weights=False)[0]
        mixed: Tensor = queries + self.layers(queries)
        return mixed


class QueryAligner(nn.Module):
    """A fixed number of image tokens, each a learned query that attends to all patches.

    With ``mix`` it is a Q-Former, as in the paper: queries attend to each other too (BLIP-2, arXiv 2301.12597). It does
    not attend to the instruction, because all instructions of an image have the same image prefix. Without ``mix`` it
    is a resampler (Flamingo's perceiver, arXiv 2204.14198).
    """

    def __init__(self, vision_width: int, hidden_size: int, num_queries: int, mix: bool, depth: int = 2) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(vision_width), nn.Linear(vision_width, hidden_size))
        self.queries = nn.Parameter(torch.randn(num_queries, hidden_size) * 0.02)
        self.blocks = nn.ModuleList(QueryBlock(hidden_size, mix) for _ in range(depth))
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, patches: Tensor, positions: Tensor) -> Tensor:
        """Patches (B, N, vision_width) and embeddings of their positions (N, hidden) -> (B, num_queries, hidden)."""
        features = self.project(patches) + positions
        queries = self.queries.expand(len(patches), -1, -1)
        for block in self.blocks:
            queries = block(queries, features)
        normed: Tensor = self.norm(queries)
        return normed

    @torch.no_grad()
    def resize(self, size: float) -> None:
        """Lets new image tokens be ``size`` large."""
        self.norm.weight.mul_(size)


def make_aligner(kind: str, vision_width: int, hidden_size: int, num_queries: int) -> MlpAligner | QueryAligner:
    """The alignment layer by its name in params.yaml: mlp, qformer or resampler."""
    if kind == "mlp":
        return MlpAligner(vision_width, hidden_size)
    return QueryAligner(vision_width, hidden_size, num_queries, mix=kind == "qformer")
