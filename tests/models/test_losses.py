"""The loss of answer tokens, compared with torch's own and with an explicit sum."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from vilam.models.losses import CLIP, Policy, policy_losses, token_losses

FIRST, BINS = 7, 11
CONFIG = SimpleNamespace(first_coordinate=FIRST, coordinate_bins=BINS)
SIZE = FIRST + 3 + 2 * BINS


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def test_without_sigma_the_loss_is_cross_entropy(logits):
    labels = torch.arange(SIZE)
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(token_losses(logits, labels, CONFIG, 0.0), expected)
    digits = SimpleNamespace(first_coordinate=None, coordinate_bins=None)
    torch.testing.assert_close(token_losses(logits, labels, digits, 1.5), expected)


def test_with_sigma_the_target_is_spread_over_neighbours_of_the_same_axis(logits):
    labels, sigma = torch.arange(SIZE), 1.5
    losses = token_losses(logits, labels, CONFIG, sigma)
    log_probs = torch.log_softmax(logits, -1)
    for n in range(SIZE):
        offset = n - FIRST - 3
        if offset < 0:  # a word or a mark
            assert losses[n] == pytest.approx(-float(log_probs[n, n]), abs=1e-5)
            continue
        axis, true = divmod(offset, BINS)
        weights = [math.exp(-((k - true) ** 2) / (2 * sigma**2)) for k in range(BINS)]
        expected = sum(-w * float(log_probs[n, FIRST + 3 + axis * BINS + k]) for k, w in enumerate(weights))
        assert losses[n] == pytest.approx(expected / sum(weights), abs=1e-4)


def test_the_least_loss_is_at_the_soft_target():
    """The gradient is 0 if the probabilities are the target (over all tokens)."""
    true, sigma = 4, 1.5
    weights = torch.tensor([math.exp(-((k - true) ** 2) / (2 * sigma**2)) for k in range(BINS)])
    logits = torch.full((1, SIZE), -60.0)
    logits[0, FIRST + 3 : FIRST + 3 + BINS] = (weights / weights.sum()).log()
    logits.requires_grad_(True)
    token_losses(logits, torch.tensor([FIRST + 3 + true]), CONFIG, sigma).sum().backward()
    assert float(logits.grad.abs().max()) < 1e-6


@pytest.mark.parametrize("advantage", [1.5, -0.7, 0.0])
def test_the_policy_loss_equals_that_of_grpo(advantage):
    """GRPO's clipped gain and its estimate of the distance, token by token."""
    now, old, far = [-0.1, -2.0, -0.5, -3.0], [-0.4, -1.0, -0.5, -1.0], [-0.2, -0.2, -4.0, -3.0]
    policy = Policy(torch.ones(4) > 0, torch.full((4,), advantage), torch.tensor(old), torch.tensor(far))
    losses = policy_losses(torch.tensor(now), policy, 0.3).tolist()
    for loss, p, q, r in zip(losses, now, old, far, strict=True):
        ratio = math.exp(p) / math.exp(q)
        clipped = min(max(ratio, 1 - CLIP), 1 + CLIP)
        distance = math.exp(r) / math.exp(p) - math.log(math.exp(r) / math.exp(p)) - 1
        assert loss == pytest.approx(-min(ratio * advantage, clipped * advantage) + 0.3 * distance, rel=1e-4)


def test_at_the_old_policy_the_gradient_is_that_of_the_plain_policy_gradient():
    log_probs = torch.tensor([-0.3, -1.2], requires_grad=True)
    here = log_probs.detach()
    policy = Policy(torch.ones(2) > 0, torch.tensor([2.0, -1.0]), here, here)
    (gradient,) = torch.autograd.grad(policy_losses(log_probs, policy, 0.5).sum(), log_probs)
    torch.testing.assert_close(gradient, torch.tensor([-2.0, 1.0]))
