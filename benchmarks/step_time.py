"""Time of an optimiser step: DeepSpeed (ZeRO-0, one process) and a plain PyTorch loop on the same model.

    python -m benchmarks.step_time

Both start from the same weights and take the same batches of params.yaml's size. Their steps alternate, so that a busy
machine slows both equally. Equal losses show that they did the same work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.scene_set import PROJECT, SceneSet, machine, make_scene_set, show
from vilam.models.device import autocast, precision
from vilam.training.batching import Batch
from vilam.training.engine import learning_rate, parameter_groups, start_distributed, start_engine

STEPS, UNCOUNTED = 25, 5
Step = Callable[[Batch], Tensor]


def plain_step(scenes: SceneSet, device: torch.device) -> Step:
    """An optimiser step of AdamW with clipping, in a few lines of PyTorch."""
    own, model = scenes.train, scenes.model().network.to(device).train()
    groups = parameter_groups(model, own.weight_decay)
    optimiser = torch.optim.AdamW(groups, lr=own.learning_rate, betas=(0.9, own.beta2), fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, learning_rate(own))

    def step(batch: Batch) -> Tensor:
        with autocast(model, precision(own.precision)):
            loss: Tensor = model(**arguments(batch, own.coordinate_sigma)).loss
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), own.max_grad_norm)
        optimiser.step()
        scheduler.step()
        optimiser.zero_grad()
        return loss.detach()

    return step


def deepspeed_step(scenes: SceneSet, device: torch.device) -> Step:
    """An optimiser step of the engine that `train` uses."""
    own = scenes.train.model_copy(update={"deepspeed": Path("configs/deepspeed/zero0.json")})
    engine, _ = start_engine(scenes.model().network.to(device), own, PROJECT)
    engine.train()

    def step(batch: Batch) -> Tensor:
        loss: Tensor = engine(**arguments(batch, own.coordinate_sigma)).loss
        engine.backward(loss)
        engine.step()
        return loss.detach()

    return step


def arguments(batch: Batch, sigma: float) -> dict[str, object]:
    """What the model takes of a batch."""
    return {**batch.inputs, "labels": batch.labels, "weights": batch.weights, "coordinate_sigma": sigma}


def main() -> None:
    """Measures and prints."""
    scenes = make_scene_set(4 * 16)
    before = machine()
    device = start_distributed()
    steps = {"plain PyTorch": plain_step(scenes, device), "DeepSpeed ZeRO-0": deepspeed_step(scenes, device)}
    model = scenes.model()
    batches = [scenes.batch(number, scenes.train.batch_size, model).to(device) for number in range(STEPS)]
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, float] = {}
    for batch in batches:
        for name, step in steps.items():
            began = time.perf_counter()
            losses[name] = float(step(batch))
            seconds[name].append(time.perf_counter() - began)
    counted = {name: sorted(1000 * one for one in taken[UNCOUNTED:]) for name, taken in seconds.items()}
    base = median(counted["plain PyTorch"])
    rows = [
        [name, f"{median(ms):.0f}", f"{ms[0]:.0f}", f"{median(ms) / base:.2f}", f"{losses[name]:.5f}"]
        for name, ms in counted.items()
    ]
    size = sum(weight.numel() for weight in model.network.parameters()) / 1e6
    title = f"Step time: {size:.2f} M parameters, {scenes.train.batch_size} images a step, {STEPS - UNCOUNTED} steps"
    show(f"{title}; {before}", ["loop", "median ms", "least ms", "times plain", "last loss"], rows)


if __name__ == "__main__":
    main()
