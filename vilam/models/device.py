"""Which device a model runs on, and in which precision it multiplies."""

from __future__ import annotations

import torch


def best_device(rank: int = 0) -> torch.device:
    """The GPU of a process by its number, which several share where there are fewer; without any, the CPU."""
    return torch.device("cuda", rank % torch.cuda.device_count()) if torch.cuda.is_available() else torch.device("cpu")


def precision(setting: str) -> torch.dtype:
    """What matrices are multiplied in: "auto" is bfloat16 where the machine has instructions for it."""
    if setting == "auto":
        fast = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else _cpu_has_bf16()
        setting = "bf16" if fast else "fp32"
    return torch.bfloat16 if setting == "bf16" else torch.float32


def _cpu_has_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
