"""The loss of answer tokens: cross-entropy with soft coordinate targets, and the policy loss of sampled tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vilam.models.coordinate_formats import NUM_MARKS

IGNORED = -100
"""The label of a token that has no loss."""
CLIP = 0.2
"""The largest distance from 1 of the ratio of a sampled token's probabilities (PPO, arXiv 1707.06347)."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The inputs of the policy loss, for each token (B, L).

    sampled: whether a token was sampled; the other fields are used for these tokens only. advantages: of the whole
    answer. old, reference: log probabilities by the model that sampled the token, and by the reference model.
    """

    sampled: Tensor
    advantages: Tensor
    old: Tensor
    reference: Tensor

    def to(self, device: torch.device | str) -> Policy:
        """The same on another device."""
        return Policy(*(getattr(self, name).to(device, non_blocking=True) for name in self.__slots__))

    def pin_memory(self) -> Policy:
        """The same in memory that a GPU reads by itself."""
        return Policy(*(getattr(self, name).pin_memory() for name in self.__slots__))

    def at(self, mask: Tensor) -> Policy:
        """The tokens (N,) at which ``mask`` (B, L) is True."""
        return Policy(*(getattr(self, name)[mask] for name in self.__slots__))


def policy_losses(log_probs: Tensor, policy: Policy, kl: float) -> Tensor:
    """The loss (N,) of sampled tokens with log probabilities (N,), all as in GRPO (arXiv 2402.03300, eq. 3-4).

    -min(r A, clip(r, 1 - CLIP, 1 + CLIP) A) + kl (q - log q - 1), with r the ratio to the probability when the token
    was sampled, A the advantage and q the ratio of the reference's probability to the model's.
    """
    ratio = (log_probs - policy.old).exp()
    gain = torch.minimum(ratio * policy.advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * policy.advantages)
    difference = policy.reference - log_probs
    return -gain + kl * (difference.exp() - difference - 1)


def token_losses(logits: Tensor, labels: Tensor, config: Any, sigma: float) -> Tensor:
    """Cross-entropy (N,) of (N, V) logits with (N,) labels.

    config: has ``first_coordinate`` and ``coordinate_bins`` of the token form; not used if ``sigma`` is 0.
    The target of a coordinate is a normal distribution of ``sigma`` bins around the true bin, over the bins of the
    same axis (soft labels as in Gaussian-smoothed coordinate classification, SimCC arXiv 2107.03332). With sigma 0 or
    digits it is the plain cross-entropy.
    """
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    loss = -log_probs.gather(1, labels.unsqueeze(1)).squeeze(1)
    if sigma > 0 and config.first_coordinate is not None:
        first_bin = config.first_coordinate + NUM_MARKS
        offset = labels - first_bin
        is_coordinate = offset >= 0
        of_bins = log_probs[is_coordinate][:, first_bin:]
        loss = loss.clone()
        loss[is_coordinate] = _soft_loss(
            of_bins.view(len(of_bins), 2, config.coordinate_bins), offset[is_coordinate], sigma
        )
    return loss


def answers_loss(
    logits: Tensor,
    answered: Tensor,
    labels: Tensor,
    weights: Tensor,
    config: Any,
    sigma: float,
    policy: Policy | None = None,
    kl: float = 0.0,
) -> Tensor:
    """Weighted sum of the losses of the answers' tokens: the policy loss of sampled ones, else the cross-entropy.

    logits (N, V) of the tokens at which ``answered`` (B, L) is True, in row-major order; labels, weights and policy
    (B, L). config and sigma as in `token_losses`.
    """
    losses = token_losses(logits, labels[answered], config, sigma)
    if policy is not None:
        own = policy.at(answered)
        log_probs = -token_losses(logits, labels[answered], config, 0.0)
        losses = torch.where(own.sampled, policy_losses(log_probs, own, kl), losses)
    return (losses * weights[answered]).sum()


def _soft_loss(log_probs: Tensor, offset: Tensor, sigma: float) -> Tensor:
    """(M, 2, bins) log probabilities, (M,) offsets axis * bins + bin -> (M,) losses."""
    bins = log_probs.shape[-1]
    axis, true_bin = offset // bins, offset % bins
    distance = torch.arange(bins, device=true_bin.device) - true_bin.unsqueeze(1)
    target = torch.softmax(-0.5 * (distance / sigma) ** 2, dim=-1)
    of_axis = log_probs[torch.arange(len(axis), device=axis.device), axis]
    return -(target * of_axis).sum(-1)
