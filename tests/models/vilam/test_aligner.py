"""The three alignment layers."""

from __future__ import annotations

import pytest
import torch

from vilam.models.vilam.aligner import make_aligner

KINDS = ("mlp", "qformer", "resampler")


@pytest.fixture
def patches() -> torch.Tensor:
    return torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
def test_shape_and_gradient_of_every_weight(kind, patches):
    aligner = make_aligner(kind, 16, 32, num_queries=5)
    tokens = aligner(patches, torch.zeros(9, 32))
    assert tokens.shape == (2, 9 if kind == "mlp" else 5, 32)
    (tokens * torch.randn_like(tokens)).sum().backward()
    assert all(weight.grad is not None for weight in aligner.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_images_do_not_affect_each_other(kind, patches):
    aligner = make_aligner(kind, 16, 32, num_queries=5)
    positions = torch.randn(9, 32)
    torch.testing.assert_close(aligner(patches, positions)[1:], aligner(patches[1:], positions), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["qformer", "resampler"])
def test_queries_attend_to_patches_as_a_set(kind, patches):
    """Only the position embedding encodes the position of a patch: permuting both gives the same tokens."""
    aligner = make_aligner(kind, 16, 32, num_queries=5)
    positions, order = torch.randn(9, 32), torch.randperm(9)
    before, after = aligner(patches, positions), aligner(patches[:, order], positions[order])
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(aligner(patches, positions[order]), before, atol=1e-3)


def test_mlp_adds_the_position_of_each_patch(patches):
    aligner = make_aligner("mlp", 16, 32, num_queries=5)
    positions = torch.randn(9, 32)
    moved = aligner(patches, positions) - aligner(patches, torch.zeros(9, 32))
    torch.testing.assert_close(moved, positions.expand(2, -1, -1), atol=1e-5, rtol=1e-4)
