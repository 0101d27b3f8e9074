"""LoRA and QLoRA: small trained matrices beside the frozen ones of a language model, which may be held in 4 bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig

from vilam.errors import VilamError

ADAPTER = "lora_"
"""In the names of the adapters' weights."""
BASE = ".base_layer"
"""In the names of the weights that have adapters beside them."""


def add_adapters(
    model: nn.Module, lora: Mapping[str, Any], is_allowed: Callable[[str], bool] = lambda name: True
) -> None:
    """Adds LoRA (arXiv 2106.09685; peft's) to the allowed linear layers whose names end with one of ``targets``.

    lora: rank, alpha, dropout, targets. New adapters change no output. Raises ValueError if a target matches no layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    by_end: dict[str, list[str]] = {end: [] for end in lora["targets"]}
    for name, _ in model.named_modules():
        if (end := name.rpartition(".")[2]) in by_end and is_allowed(name):
            by_end[end].append(name)
    if missing := [end for end, names in by_end.items() if not names]:
        raise ValueError(f"no layer of it is called {' or '.join(missing)}")
    names = [name for found in by_end.values() for name in found]
    config = LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], lora_dropout=lora["dropout"], target_modules=names)
    inject_adapter_in_model(config, model)


def freeze_all_but_adapters(language: nn.Module) -> None:
    """Leaves only the adapters of a language model to be trained."""
    for name, parameter in language.named_parameters():
        parameter.requires_grad_(ADAPTER in name)


def merge_adapters(model: nn.Module) -> None:
    """Adds what the adapters learnt to the weights beside them, and removes the adapters."""
    from peft.tuners.lora import LoraLayer

    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, module in adapted:
        module.merge()
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, module.get_base_layer())


def set_adapters_training(language: nn.Module, mode: bool) -> None:
    """Turns the adapters' own dropout on or off."""
    for name, module in language.named_modules():
        if ADAPTER in name:
            module.train(mode)


def four_bits(skipped: Sequence[str]) -> BitsAndBytesConfig:
    """NF4 (QLoRA, arXiv 2305.14314) for all matrices except those of the ``skipped`` modules and the head.

    Raises VilamError without bitsandbytes.
    """
    if find_spec("bitsandbytes") is None:
        raise VilamError("model.language.lora.bits needs bitsandbytes, which is not installed: install vilam[qlora]")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=[*skipped, "lm_head"],
    )


def dequantized(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model, with every matrix of 4 bits converted to floats."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    weights: dict[str, Tensor] = model.state_dict()
    for module_name, module in model.named_modules():
        if isinstance(module, Linear4bit):
            name = f"{module_name}.weight"
            weights = {key: value for key, value in weights.items() if not key.startswith(f"{name}.")}
            weights[name] = dequantize_4bit(module.weight.data, module.weight.quant_state).to(torch.float32)
    return weights
