"""The loss of answer tokens: cross-entropy, with neighbouring places sharing a coordinate's target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vilam.models.coordinates import NUM_MARKS


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


def _soft_loss(log_probs: Tensor, offset: Tensor, sigma: float) -> Tensor:
    """(M, 2, bins) log probabilities, (M,) offsets axis * bins + place -> (M,) losses."""
    bins = log_probs.shape[-1]
    axis, place = offset // bins, offset % bins
    distance = torch.arange(bins, device=place.device) - place.unsqueeze(1)
    target = torch.softmax(-0.5 * (distance / sigma) ** 2, dim=-1)
    of_axis = log_probs[torch.arange(len(axis), device=axis.device), axis]
    return -(target * of_axis).sum(-1)
