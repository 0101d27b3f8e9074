"""A question by `vilam predict`, compared with importing torch and transformers and reading the same weights.

    python -m benchmarks.start

Whole processes take turns, so that other work on the machine slows all of them equally. The model is that of
params.yaml with random weights.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from PIL import Image

from benchmarks.scene_set import machine, make_scene_set, show
from vilam.models.build import LoadedModel, save_model

ROUNDS = 5
BARE = "import torch, transformers; from safetensors.torch import load_file; load_file('model/model.safetensors')"
CLASSES = f"{BARE}; from transformers import LlamaForCausalLM, PreTrainedTokenizerFast"
ASK = ["scene.png", "--model", "model", "--locate", "the red circle"]
WAYS = {
    "import torch, transformers; read the weights": ["-c", BARE],
    "the same, and import the classes of a language model": ["-c", CLASSES],
    "vilam predict": ["-m", "vilam", "predict", *ASK],
}


def one_process(words: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of the clock and of the processor that a process takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, used


def main() -> None:
    """Prints the table."""
    scenes = make_scene_set(4)
    model = scenes.model()
    with TemporaryDirectory() as name:
        folder = Path(name)
        save_model(LoadedModel(model.network, model.tokenizer, model.card, {}), folder / "model")
        Image.effect_mandelbrot((96, 96), (-2, -1, 1, 1), 50).convert("RGB").save(folder / "scene.png")
        for words in WAYS.values():  # the files are in memory afterwards
            one_process(words, folder)
        rounds = [{way: one_process(words, folder) for way, words in WAYS.items()} for _ in range(ROUNDS)]
    bare = next(iter(WAYS))
    rows = [
        [
            way,
            *(f"{median(each[way][kind] for each in rounds):.1f}" for kind in (0, 1)),
            *(f"{median(each[way][kind] / each[bare][kind] for each in rounds):.2f}" for kind in (0, 1)),
        ]
        for way in WAYS
    ]
    print(machine())
    show("A question", ["process", "seconds", "processor seconds", "ratio of seconds", "of processor seconds"], rows)


if __name__ == "__main__":
    main()
