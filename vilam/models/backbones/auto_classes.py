"""Registers vilam's own vision towers and attention with transformers, so that it opens them by their names."""

from __future__ import annotations

from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, AutoModel
from transformers.masking_utils import eager_mask

from vilam.models.backbones.attention import LEAN, lean_attention
from vilam.models.backbones.efficientnet_lite import LiteTower, LiteTowerConfig
from vilam.models.backbones.vilam_tower import VilamTower, VilamTowerConfig


def register_backbones() -> None:
    """Lets AutoConfig and AutoModel open vilam's vision towers, and language models run with attention "lean"."""
    AttentionInterface.register(LEAN, lean_attention)
    AttentionMaskInterface.register(LEAN, eager_mask)
    for config, tower in ((VilamTowerConfig, VilamTower), (LiteTowerConfig, LiteTower)):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, tower, exist_ok=True)
