"""The loss of answer tokens: cross-entropy, with neighbouring places sharing a coordinate's target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vilam.models.coordinates import NUM_MARKS

IGNORED = -100
"""The label of a token that has no loss."""
CLIP = 0.2
"""How far from 1 the ratio of a sampled token's probabilities counts (PPO, arXiv 1707.06347)."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is known of sampled answers, for each token (B, L); tokens that were not sampled have ``sampled`` False.

    advantages: of the whole answer. old, reference: log probabilities when it was sampled, by the model that sampled it
    and by the one that it shall stay near.
    """

    sampled: Tensor
    advantages: Tensor
    old: Tensor
    reference: Tensor

    def to(self, device: torch.device | str) -> Policy:
        """The same on another device."""
        return Policy(*(getattr(self, name).to(device) for name in self.__slots__))

    def at(self, where: Tensor) -> Policy:
        """The tokens (N,) at which ``where`` (B, L) holds."""
        return Policy(*(getattr(self, name)[where] for name in self.__slots__))


def policy_losses(log_probs: Tensor, policy: Policy, kl: float) -> Tensor:
    """The loss (N,) of sampled tokens with log probabilities (N,), all as GRPO has it (arXiv 2402.03300, eq. 3-4).

    -min(r A, clip(r, 1 - CLIP, 1 + CLIP) A) + kl (q - log q - 1), with r the ratio to the probability when the token
    was sampled, A the advantage and q the ratio of the reference's probability to the model's.
    """
    ratio = (log_probs - policy.old).exp()
    gain = torch.minimum(ratio * policy.advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * policy.advantages)
    apart = policy.reference - log_probs
    return -gain + kl * (apart.exp() - apart - 1)


def token_losses(logits: Tensor, labels: Tensor, config: Any, sigma: float) -> Tensor:
    """Cross-entropy (N,) of (N, tokens) logits with (N,) labels.

    A coordinate's target is a normal distribution of ``sigma`` bins around the true bin, over the bins of the same
    axis (soft labels as in Gaussian-smoothed coordinate classification, SimCC arXiv 2107.03332); with sigma 0 or
    digits it is the plain cross-entropy.
    """
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    loss = -log_probs.gather(1, labels.unsqueeze(1)).squeeze(1)
    if sigma > 0 and config.first_coordinate is not None:
        bins = config.coordinate_bins
        offset = labels - config.first_coordinate - NUM_MARKS
        chosen = offset >= 0
        places = log_probs[chosen][:, config.first_coordinate + NUM_MARKS :]
        loss = loss.clone()
        loss[chosen] = _soft_loss(places.view(len(places), 2, bins), offset[chosen], sigma)
    return loss


def answers_loss(
    logits: Tensor,
    known: Tensor,
    labels: Tensor,
    weights: Tensor,
    config: Any,
    sigma: float,
    policy: Policy | None = None,
    kl: float = 0.0,
) -> Tensor:
    """Weighted sum of the losses of the answers' tokens: of sampled ones by their policy, else the cross-entropy.

    logits (N, tokens) of the tokens at which ``known`` (B, L) holds, in row-major order; labels, weights and policy
    (B, L).
    """
    losses = token_losses(logits, labels[known], config, sigma)
    if policy is not None:
        own = policy.at(known)
        log_probs = -token_losses(logits, labels[known], config, 0.0)
        losses = torch.where(own.sampled, policy_losses(log_probs, own, kl), losses)
    return (losses * weights[known]).sum()


def _soft_loss(log_probs: Tensor, offset: Tensor, sigma: float) -> Tensor:
    """(M, 2, bins) log probabilities, (M,) offsets axis * bins + place -> (M,) losses."""
    bins = log_probs.shape[-1]
    axis, place = offset // bins, offset % bins
    distance = torch.arange(bins, device=place.device) - place.unsqueeze(1)
    target = torch.softmax(-0.5 * (distance / sigma) ** 2, dim=-1)
    of_axis = log_probs[torch.arange(len(axis), device=axis.device), axis]
    return -(target * of_axis).sum(-1)
