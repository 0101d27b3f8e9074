"""LoRA: small matrices beside the frozen ones of a language model, which are all of it that is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

ADAPTER = "lora_"
"""In the names of their weights."""
BASE = ".base_layer"
"""In the names of the weights beside which they stand."""


def add_adapters(model: nn.Module, lora: Mapping[str, Any], chosen: Callable[[str], bool] = lambda name: True) -> None:
    """Put LoRA (arXiv 2106.09685; peft's) beside the ``chosen`` linear layers whose names end as ``targets`` say.

    lora: rank, alpha, dropout, targets. New ones add nothing yet. Raises ValueError where no layer has such a name.
    """
    from peft import LoraConfig, inject_adapter_in_model

    by_end: dict[str, list[str]] = {end: [] for end in lora["targets"]}
    for name, _ in model.named_modules():
        if (end := name.rpartition(".")[2]) in by_end and chosen(name):
            by_end[end].append(name)
    if missing := [end for end, names in by_end.items() if not names]:
        raise ValueError(f"no layer of it is called {' or '.join(missing)}")
    names = [name for found in by_end.values() for name in found]
    config = LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], lora_dropout=lora["dropout"], target_modules=names)
    inject_adapter_in_model(config, model)


def freeze_all_but_adapters(language: nn.Module) -> None:
    """Of a frozen language model with adapters, they alone are trained."""
    for name, parameter in language.named_parameters():
        parameter.requires_grad_(ADAPTER in name)


def merge_adapters(model: nn.Module) -> None:
    """Add what the adapters learnt to the weights beside them, and take the adapters away."""
    from peft.tuners.lora import LoraLayer

    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, module in adapted:
        module.merge()
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, module.get_base_layer())


def set_adapters_training(language: nn.Module, mode: bool) -> None:
    """Turn the adapters' own dropout on or off."""
    for name, module in language.named_modules():
        if ADAPTER in name:
            module.train(mode)
