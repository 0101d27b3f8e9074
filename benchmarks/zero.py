"""The same short training with ZeRO 0 to 3 and 1 and 2 processes: do they end at the same place?

    python -m benchmarks.zero

Every run starts from the same weights and takes the same images in float32 (the cycle is off: what it generates is
drawn by each process for its own images). One launch for each number of processes does all four stages in a row.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.scene_set import PROJECT, SceneSet, machine, make_scene_set, show
from vilam.training.checkpoint import Checkpoints
from vilam.training.engine import rank
from vilam.training.loop import Job, fit

STEPS, IMAGES = 10, 8
OUT = "VILAM_BENCHMARK_OUT"
Weights = Mapping[str, torch.Tensor]


def job(scenes: SceneSet, stage: int) -> Job:
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
    return Job(
        name=f"zero{stage}",
        settings=own,
        model=scenes.model(),
        tokenizer=scenes.tokenizer,
        card=scenes.card,
        records=scenes.records,
        sampler=scenes.sampler(),
        held_out=scenes.records,
        validation=[one for one in scenes.instructions if one.task == "reg_class"][:32],
        cycle=None,
        seed=scenes.settings.seed,
    )


def work(folder: Path) -> None:
    """Train with every stage; rank 0 writes the weights and ``stage.json`` of each."""
    torch.set_num_threads(1)
    scenes = make_scene_set(32)
    if rank() == 0:
        torch.save(scenes.model().state_dict(), folder / "start.pt")
    for stage in range(4):
        began = time.perf_counter()
        model, history = fit(job(scenes, stage), PROJECT, Checkpoints(folder / f"checkpoints-{stage}"), lambda *_: None)
        if rank() == 0:
            torch.save(model.state_dict(), folder / f"{stage}.pt")
            measured = {"val_loss": history.rows[-1]["val_loss"], "seconds": time.perf_counter() - began}
            (folder / f"{stage}.json").write_text(json.dumps(measured), encoding="utf-8")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def launch(processes: int, folder: Path) -> None:
    """Do the work with that many processes."""
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, OUT: str(folder), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "-m", "benchmarks.zero"], cwd=PROJECT, env=environment, check=True)


def apart(folder: Path, base: Path, stage: int) -> float:
    """How far the weights of a run lie from those of the first one, as a share of the way that training took them."""
    mine, first, start = (torch.load(path) for path in (folder / f"{stage}.pt", base / "0.pt", base / "start.pt"))
    return distance(mine, first) / distance(first, start)


def distance(one: Weights, other: Weights) -> float:
    """Euclidean."""
    return sum(float((one[name] - other[name]).square().sum()) for name in other) ** 0.5


def main() -> None:
    """Launch, compare and print."""
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
                rows.append([stage, processes, loss, f"{apart(folder, folders[1], stage):.1e}", seconds])
    title = f"ZeRO: {STEPS} steps of {IMAGES} images, float32; {before}"
    show(title, ["ZeRO stage", "processes", "final loss", "weights apart from the first run", "seconds"], rows)


if __name__ == "__main__":
    if OUT in os.environ:
        work(Path(os.environ[OUT]))
    else:
        main()
