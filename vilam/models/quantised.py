"""Language models held in 4 bits (QLoRA, arXiv 2305.14314), where bitsandbytes is there."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig

from vilam.errors import VilamError


def four_bits(others: Sequence[str]) -> BitsAndBytesConfig:
    """NF4 for all matrices but those of the ``others`` and the head; raises VilamError without bitsandbytes."""
    if find_spec("bitsandbytes") is None:
        raise VilamError("model.language.lora.bits needs bitsandbytes, which is not installed: install vilam[qlora]")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=[*others, "lm_head"],
    )


def floats(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model with the floats that its 4 bits mean in their place."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    weights: dict[str, Tensor] = model.state_dict()
    for module_name, module in model.named_modules():
        if isinstance(module, Linear4bit):
            name = f"{module_name}.weight"
            weights = {key: value for key, value in weights.items() if not key.startswith(f"{name}.")}
            weights[name] = dequantize_4bit(module.weight.data, module.weight.quant_state).to(torch.float32)
    return weights
