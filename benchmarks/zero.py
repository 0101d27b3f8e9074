"""The same short training with ZeRO 0 to 3 and 1 and 2 processes: do they end with the same weights?

    python -m benchmarks.zero

Every run starts from the same weights and takes the same images in float32 (the cycle is off: each process
would sample answers for its own images). One launch for each number of processes does all four ZeRO stages in a row.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.scene_set import PROJECT, SceneSet, machine, make_scene_set, show
from vilam.launch import rank
from vilam.training.checkpoint import Checkpoints
from vilam.training.loop import TrainingRun, fit

STEPS, IMAGES = 10, 8
OUT = "VILAM_BENCHMARK_OUT"
Weights = Mapping[str, torch.Tensor]


def run(scenes: SceneSet, stage: int) -> TrainingRun:
    """A short training with a ZeRO stage."""
    own = scenes.train.model_copy(
        update={
            "steps": STEPS,
            "warmup_steps": 2,
            "batch_size": IMAGES,
            "precision": "fp32",
            "validate_every": STEPS,
            "checkpoint_every": STEPS,
            "deepspeed": Path(f"configs/deepspeed/zero{stage}.json"),
        }
    )
    return TrainingRun(
        name=f"zero{stage}",
        settings=own,
        model=scenes.model(),
        records=scenes.records,
        sampler=scenes.sampler(),
        held_out=scenes.records,
        validation=[one for one in scenes.instructions if one.task == "reg_class"][:32],
        cycle=None,
        seed=scenes.settings.seed,
    )


def work(folder: Path) -> None:
    """Trains with every ZeRO stage; rank 0 writes the weights and ``stage.json`` of each."""
    torch.set_num_threads(1)
    scenes = make_scene_set(32)
    if rank() == 0:
        torch.save(scenes.model().network.state_dict(), folder / "start.pt")
    for stage in range(4):
        began = time.perf_counter()
        network, history = fit(
            run(scenes, stage), PROJECT, Checkpoints(folder / f"checkpoints-{stage}"), lambda *_: None
        )
        if rank() == 0:
            torch.save(network.state_dict(), folder / f"{stage}.pt")
            measured = {"val_loss": history.rows[-1]["val_loss"], "seconds": time.perf_counter() - began}
            (folder / f"{stage}.json").write_text(json.dumps(measured), encoding="utf-8")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def launch(processes: int, folder: Path) -> None:
    """Starts `work` with this number of processes."""
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, OUT: str(folder), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "-m", "benchmarks.zero"], cwd=PROJECT, env=environment, check=True)


def relative_distance(folder: Path, base: Path, stage: int) -> float:
    """The distance of a run's weights from those of the first run, as a fraction of their change in training."""
    mine, first, start = (torch.load(path) for path in (folder / f"{stage}.pt", base / "0.pt", base / "start.pt"))
    return distance(mine, first) / distance(first, start)


def distance(one: Weights, other: Weights) -> float:
    """The Euclidean distance of two sets of weights."""
    return math.sqrt(sum(float((one[name] - other[name]).square().sum()) for name in other))


def main() -> None:
    """Launches, compares and prints."""
    before = machine()
    with tempfile.TemporaryDirectory() as name:
        folders = {processes: Path(name) / str(processes) for processes in (1, 2)}
        for processes, folder in folders.items():
            launch(processes, folder)
        rows: list[list[object]] = []
        for stage in range(4):
            for processes, folder in folders.items():
                measured = json.loads((folder / f"{stage}.json").read_text(encoding="utf-8"))
                loss, seconds = f"{measured['val_loss']:.6f}", f"{measured['seconds']:.0f}"
                rows.append([stage, processes, loss, f"{relative_distance(folder, folders[1], stage):.1e}", seconds])
    title = f"ZeRO: {STEPS} steps of {IMAGES} images, float32; {before}"
    show(title, ["ZeRO stage", "processes", "final loss", "distance of weights from the first run", "seconds"], rows)


if __name__ == "__main__":
    if OUT in os.environ:
        work(Path(os.environ[OUT]))
    else:
        main()
