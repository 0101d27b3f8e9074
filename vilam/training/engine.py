"""The DeepSpeed engine, started the same way for one process on a CPU and for many GPUs.

The settings that differ between machines are in ``configs/deepspeed/*.json``; batch size, clipping and precision come
from params.yaml. The optimiser is torch's own AdamW: DeepSpeed's are compiled on first use and need a C++ compiler.
"""

from __future__ import annotations

import json
import math
import os
import socket
import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from vilam.config import OptimiserSettings
from vilam.errors import LONGEST, VilamError, one_line
from vilam.launch import world_size
from vilam.layout import named
from vilam.models.device import precision
from vilam.models.interface import GroundingModel
from vilam.training.plain import PlainModel

SHARDED_PARAMETERS = 3
"""The ZeRO stage from which on a process holds only a part of each weight."""


def start_distributed() -> torch.device:
    """Joins the process group (of one process if no launcher started this one); returns the device of this process."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    if "RANK" not in os.environ:
        os.environ.update(alone, MASTER_PORT=str(free_port()))
    import deepspeed

    # DeepSpeed calls functions that torch is about to rename, once for each process and stage of ZeRO.
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    # Otherwise the first start compiles a shared-memory communicator for minutes, or fails without a compiler.
    # gloo alone does the same work.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")
    deepspeed.init_distributed(dist_backend="nccl" if device.type == "cuda" else "gloo", verbose=False)
    return device


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def learning_rate(settings: OptimiserSettings) -> Callable[[int], float]:
    """The factor on the learning rate by step: linear warm-up, then a cosine down to the final one."""
    low = settings.final_learning_rate / settings.learning_rate

    def factor(step: int) -> float:
        if step < settings.warmup_steps:
            return (step + 1) / settings.warmup_steps
        done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
        return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    return factor


def deepspeed_config(settings: OptimiserSettings, root: Path) -> dict[str, Any]:
    """The JSON of ``settings.deepspeed``, with batch size, clipping and precision of params.yaml filled in."""
    path = root / named(root, settings.deepspeed)
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VilamError(f"{path}: not found: set deepspeed to a file of configs/deepspeed") from None
    except OSError as error:
        raise VilamError(f"{path}: {error.strerror}: set deepspeed to a file of configs/deepspeed") from None
    except ValueError as error:
        raise VilamError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(config, dict):
        raise VilamError(f"{path}: no names and values: set deepspeed to a file of configs/deepspeed")
    if settings.batch_size % world_size():
        raise VilamError(f"batch_size {settings.batch_size} does not divide over {world_size()} processes")
    config["train_micro_batch_size_per_gpu"] = settings.batch_size // world_size()
    config["gradient_accumulation_steps"] = 1
    config["gradient_clipping"] = settings.max_grad_norm
    config["steps_per_print"] = 10**9
    if precision(settings.precision) == torch.bfloat16 and "bf16" not in config:
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    return config


def check_config(config: Mapping[str, Any], file: Path) -> None:
    """Raises VilamError if DeepSpeed refuses the config."""
    from deepspeed.runtime.config import DeepSpeedConfig

    try:
        DeepSpeedConfig(deepcopy(config))
    except Exception as error:  # each of its parts has its own way to refuse values
        raise VilamError(f"{file}: DeepSpeed refuses it: {one_line(error)[:LONGEST]}: correct the file") from error


def start_engine(model: GroundingModel, settings: OptimiserSettings, root: Path) -> tuple[Any, PlainModel]:
    """The DeepSpeed engine around a model, and the model beside it; frozen weights get no optimiser state."""
    import deepspeed

    config = deepspeed_config(settings, root)
    check_config(config, settings.deepspeed)
    plain = PlainModel(model, config.get("zero_optimization", {}).get("stage", 0) >= SHARDED_PARAMETERS)
    optimiser = torch.optim.AdamW(
        parameter_groups(model, settings.weight_decay),
        lr=settings.learning_rate,
        betas=(0.9, settings.beta2),
        fused=True,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, learning_rate(settings))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=optimiser,
            lr_scheduler=scheduler,
            config=config,
            dist_init_required=False,
        )
    return engine, plain


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and embeddings of one dimension do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
