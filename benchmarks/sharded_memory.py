"""The memory that a process of ZeRO-3 takes to answer questions and to save, beside that of its weights.

    python -m benchmarks.sharded_memory

Two processes train a Qwen3-VL with random weights (float32). Each answers a question about a picture with weights that
are gathered once; then the first process keeps all weights, to save them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.random_vlm import write_random_vlm
from benchmarks.scene_set import PROJECT, SceneSet, machine, make_scene_set, show
from vilam.config import ModelSettings
from vilam.inference.generate import Request, generate
from vilam.inference.model import Model
from vilam.launch import rank
from vilam.models.build import build_model, build_tokenizer
from vilam.training.engine import start_distributed, start_engine
from vilam.training.loop import release_memory

WIDTH, LAYERS, PIXELS = 512, 8, 224 * 224
OUT = "VILAM_BENCHMARK_OUT"


class Peak:
    """The highest memory of this process in MiB since it was made, beyond what it took then (Linux)."""

    def __init__(self) -> None:
        release_memory()
        self.before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")

    def __str__(self) -> str:
        """In MiB."""
        return f"{_status('VmHWM') - self.before:.0f}"


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def work(folder: Path) -> None:
    """Starts the engine, answers and saves; every rank writes what it took."""
    torch.set_num_threads(1)
    device = start_distributed()
    scenes = make_scene_set(4)
    model = open_checkpoint(scenes, folder / "checkpoint")
    weights = sum(weight.numel() * weight.element_size() for weight in model.network.parameters()) / 2**20
    update = {"precision": "fp32", "batch_size": 2, "deepspeed": Path("configs/deepspeed/zero3.json")}
    network = model.network.to(device)
    answer(model, scenes)  # what the first answer allocates for good
    _, plain = start_engine(network, scenes.train.model_copy(update=update), PROJECT)
    peak = Peak()
    with plain.gathered() as gathered:
        answer(Model.for_data(gathered, model.tokenizer, scenes.card), scenes)
        answering = str(peak)
    peak = Peak()
    kept = plain.trained()
    (folder / f"{rank()}.txt").write_text(f"{weights:.0f} {answering} {peak}", encoding="utf-8")
    del kept
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def open_checkpoint(scenes: SceneSet, checkpoint: Path) -> Model:
    """The checkpoint, to train its language model."""
    content = {**scenes.settings.model.model_dump(), "checkpoint": str(checkpoint)}
    settings = ModelSettings.model_validate(content)
    tokenizer = build_tokenizer(settings, ())
    return Model.for_data(build_model(settings, tokenizer, 0), tokenizer, scenes.card)


def answer(model: Model, scenes: SceneSet) -> None:
    """One question about one picture."""
    images = model.network.eval().preprocess([next(iter(scenes.records.values())).image])
    generate(model, images, [Request(0, "Where is the red circle?", model.grammars["rec_box"])])


def main() -> None:
    """Launches two processes and prints what each took."""
    before, scenes = machine(), make_scene_set(4)
    with TemporaryDirectory() as name:
        folder = Path(name)
        texts = [text for one in scenes.instructions for text in (one.question, one.answer)]
        write_random_vlm(folder / "checkpoint", texts, WIDTH, LAYERS, PIXELS)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        environment = {**os.environ, OUT: name, "OMP_NUM_THREADS": "1"}
        subprocess.run([*command, "-m", "benchmarks.sharded_memory"], cwd=PROJECT, env=environment, check=True)
        rows = [[number, *(folder / f"{number}.txt").read_text(encoding="utf-8").split()] for number in range(2)]
    title = f"ZeRO-3, 2 processes, float32; {before}"
    show(title, ["process", "all weights, MiB", "answering takes, MiB", "saving takes, MiB"], rows)


if __name__ == "__main__":
    if OUT in os.environ:
        work(Path(os.environ[OUT]))
    else:
        main()
