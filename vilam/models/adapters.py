"""LoRA: small matrices beside the frozen ones of a language model, which are all of it that is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

ADAPTER = "lora_"
"""In the names of their weights."""


def add_adapters(language: nn.Module, lora: Mapping[str, Any]) -> None:
    """Put LoRA (arXiv 2106.09685; peft's) beside the linear layers whose names end as ``targets`` say.

    lora: rank, alpha, dropout, targets. New ones add nothing yet. Raises ValueError where no layer has such a name.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=lora["rank"], lora_alpha=lora["alpha"], lora_dropout=lora["dropout"], target_modules=list(lora["targets"])
    )
    inject_adapter_in_model(config, language)


def freeze_all_but_adapters(language: nn.Module) -> None:
    """Of a frozen language model with adapters, they alone are trained."""
    for name, parameter in language.named_parameters():
        parameter.requires_grad_(ADAPTER in name)


def set_adapters_training(language: nn.Module, mode: bool) -> None:
    """Turn the adapters' own dropout on or off."""
    for name, module in language.named_modules():
        if ADAPTER in name:
            module.train(mode)
