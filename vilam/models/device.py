"""Which device a model runs on, and in which precision it multiplies."""

from __future__ import annotations

import torch

from vilam.models.interface import GroundingModel


def best_device(rank: int = 0) -> torch.device:
    """The GPU of a process by its number, or the CPU if there is no GPU; with few GPUs, several processes share one."""
    return torch.device("cuda", rank % torch.cuda.device_count()) if torch.cuda.is_available() else torch.device("cpu")


def precision(setting: str) -> torch.dtype:
    """The type in which matrices are multiplied: "auto" is bfloat16 if the machine has instructions for it."""
    if setting == "auto":
        fast = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else _cpu_has_bf16()
        setting = "bf16" if fast else "fp32"
    return torch.bfloat16 if setting == "bf16" else torch.float32


def autocast(network: GroundingModel, dtype: torch.dtype) -> torch.autocast:
    """The context in which a network of float32 weights multiplies in ``dtype``."""
    return torch.autocast(network.device.type, dtype, enabled=dtype != torch.float32)


def _cpu_has_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
