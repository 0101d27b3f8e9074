"""What `vilam plan` computes beside what training takes: the peak of memory of a process.

    PYTHONPATH=tests python -m benchmarks.plan [NAME ...]

Each configuration is planned in one process and trained for three steps in another (or two others), on the same
pictures and instructions, with DeepSpeed. Measured is the peak of the resident memory (VmHWM of /proc/self/status)
from the first step on, less the resident memory after the imports, before there is a model. glibc gives blocks from
64 KiB on back to the system as soon as they are free (MALLOC_MMAP_THRESHOLD_), so that holes in its heap do not count.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hf_families
import torch
from hf_checkpoints import HF_CHECKPOINTS
from transformers import AutoConfig, AutoModelForImageTextToText

from benchmarks.random_vlm import write_random_vlm
from benchmarks.scene_set import PROJECT, machine, settings_of, show
from vilam.config import Settings, read_yaml
from vilam.inference.model import Model
from vilam.layout import Layout
from vilam.models.build import build_model, build_tokenizer
from vilam.models.device import precision
from vilam.models.interface import GroundingModel, Tokens
from vilam.planning.material import Material, largest_rows, open_material
from vilam.planning.plan import make_plan, sampler_of
from vilam.training.batching import Batch, collate
from vilam.training.engine import free_port, start_distributed, start_engine
from vilam.training.loop import release_memory

STEPS = 3
ZERO2 = {"optimiser.processes": 2, "optimiser.deepspeed": "configs/deepspeed/zero2.json"}
LORA = {"model.language.frozen": True, "model.language.lora": {"rank": 8, "targets": ["q_proj", "v_proj"]}}
EYES = {"model.vision.frozen": True}
BF16, AGAIN = {"optimiser.precision": "bf16"}, {"optimiser.gradient_checkpointing": True}
TINY: dict[str, Mapping[str, Any]] = {
    "as it is": {},
    "bf16": BF16,
    "checkpointing": AGAIN,
    "ZeRO-2, 2 processes": ZERO2,
    "LoRA, frozen vision": {**LORA, **EYES},
}
SMALL: dict[str, Mapping[str, Any]] = {
    "as it is": {},
    "bf16": BF16,
    "checkpointing": AGAIN,
    "8 pictures": {"optimiser.batch_size": 8},
}
WHOLE: dict[str, Mapping[str, Any]] = {
    "as it is": {},
    "bf16": BF16,
    "checkpointing": AGAIN,
    "one picture": {"optimiser.batch_size": 1},
    "ZeRO-2, 2 processes": ZERO2,
    "frozen vision": EYES,
    "LoRA, frozen vision, bf16": {**LORA, **EYES, **BF16},
}
PRESETS = ("small", "small-lora")
FAMILIES = ("llava", "qwen2.5-vl", "smolvlm", "internvl", "gemma3", "paligemma")
TIMES = 16
"""A family's checkpoint of the tests is made this many times as wide."""
WIDTHS = {"hidden_size", "intermediate_size", "out_hidden_size", "head_dim", "mrope_section"}
SIZE = (640, 480)
MIB = 1 << 20


def resident(name: str) -> int:
    """Bytes of this process by a name of /proc/self/status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def prepared(settings: Settings, material: Material, tokenizer: Tokens) -> tuple[GroundingModel, Batch]:
    """A model with its weights, as `activate` makes it, and the largest batch."""
    own = settings.train
    network = build_model(settings.model, tokenizer, settings.seed)
    network.cast_frozen(precision(own.precision))
    if own.gradient_checkpointing:
        network.enable_gradient_checkpointing()
    rows = largest_rows(material, own, sampler_of(settings, material, "train"))
    return network, collate(Model.for_data(network, tokenizer, material.card), rows.images, rows.examples)


def train(settings: Settings) -> int:
    """Bytes that some steps take at most in this process."""
    torch.set_num_threads(1)
    start_distributed()
    material, own = open_material(settings, Layout(PROJECT), SIZE), settings.train
    tokenizer = build_tokenizer(settings.model, material.texts())
    release_memory()
    before = resident("VmRSS")
    network, batch = prepared(settings, material, tokenizer)
    engine, _ = start_engine(network, own, PROJECT)
    totals = network.loss_totals(batch.labels, batch.weights)
    release_memory()
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins again
    for _ in range(STEPS):
        engine.train()
        output = engine(
            **batch.inputs,
            labels=batch.labels,
            weights=batch.weights,
            totals=totals,
            coordinate_sigma=own.coordinate_sigma,
            pointing_weight=own.pointing_weight,
        )
        engine.backward(output.loss)
        engine.step()
        del output
    return resident("VmHWM") - before


def warm_up() -> None:
    """Let libraries take what they take once: a training without DeepSpeed, after its import."""
    import deepspeed.runtime.zero.stage3
    import deepspeed.runtime.zero.stage_1_and_2  # noqa: F401

    settings = settings_of({"optimiser.batch_size": 1, "optimiser.instructions_per_image": 1, "train.steps": 20})
    material = open_material(settings, Layout(PROJECT), SIZE)
    for dtype in (torch.float32, torch.bfloat16):
        network, batch = prepared(settings, material, build_tokenizer(settings.model, material.texts()))
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            network(**batch.inputs, labels=batch.labels, weights=batch.weights).loss.backward()
        torch.optim.AdamW(network.parameters(), fused=True).step()


def in_child(work: Callable[[], Any], environment: Mapping[str, str]) -> Connection:
    """Does some work in a fork of this process; what it returns comes through the connection."""
    parent, child = Pipe()
    if os.fork() == 0:
        os.environ.update(environment)
        try:
            child.send(work())
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    child.close()
    return parent


def measured(settings: Settings) -> int:
    """Bytes of the largest process of a training."""
    count = settings.train.processes
    release_memory()
    alone = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [{**alone, "RANK": str(number), "LOCAL_RANK": str(number)} for number in range(count)]
    return max(int(one.recv()) for one in [in_child(partial(train, settings), rank) for rank in ranks])


def configurations(folder: Path) -> Iterator[tuple[str, Settings]]:
    """Each with its name; the checkpoints of whole models are written to the folder."""
    none = {"train.cycle.mode": "none"}
    for name, overrides in TINY.items():
        yield f"tiny, {name}", settings_of({**none, "optimiser.batch_size": 64, **overrides})
    for preset in PRESETS:
        own = {**read_yaml(PROJECT / f"configs/models/{preset}.yaml"), **none, "model.vision.cache": False}
        for name, overrides in SMALL.items():
            yield f"{preset}, {name}", settings_of({**own, **overrides})
    for family in ("qwen3-vl", *FAMILIES):
        for name, overrides in WHOLE.items():
            own = {"model.checkpoint": str(folder / family), "optimiser.batch_size": 4, **none, **overrides}
            yield f"{family}, {name}", settings_of(own)


def write(family: str, folder: Path) -> None:
    """A checkpoint with random weights, several hundred times as large as that of the tests."""
    if family == "qwen3-vl":
        texts = list(open_material(settings_of({}), Layout(PROJECT), SIZE).texts())
        write_random_vlm(folder, texts, 512, 8, 448 * 448)
        return
    (hf_families.FAMILIES | HF_CHECKPOINTS)[family](folder)
    path = folder / "config.json"
    path.write_text(json.dumps(wider(json.loads(path.read_text()))))
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)


def wider(content: Any) -> Any:
    """A config whose layers are `TIMES` as wide."""
    if not isinstance(content, dict):
        return content
    return {
        name: [TIMES * one for one in value]
        if name in WIDTHS and isinstance(value, list)
        else TIMES * value
        if name in WIDTHS and value is not None
        else wider(value)
        for name, value in content.items()
    }


def compared(settings: Settings) -> list[str]:
    """The trained weights of a configuration, both peaks, and their ratio."""
    checkpoint = settings.model.checkpoint
    if checkpoint is not None and not Path(checkpoint).is_dir():
        in_child(partial(write, Path(checkpoint).name, Path(checkpoint)), {}).recv()
    plan = in_child(partial(make_plan, settings, PROJECT, "train", SIZE), {}).recv()
    found = measured(settings)
    return [f"{plan.trained:,}", f"{plan.peak / MIB:.0f}", f"{found / MIB:.0f}", f"{plan.peak / found:.2f}"]


def main() -> None:
    """Prints the table; names choose the configurations that begin with one of them."""
    print(machine())
    warm_up()
    names, rows = tuple(sys.argv[1:]) or ("",), []
    with TemporaryDirectory() as folder:
        for name, settings in configurations(Path(folder)):
            if name.startswith(names):
                try:
                    rows.append([name, *compared(settings)])
                except EOFError:  # the child has printed why
                    rows.append([name, "", "", "", "failed"])
                print(*rows[-1], file=sys.stderr, flush=True)
    show("Peak of a process, MiB", ["configuration", "trained", "computed", "measured", "ratio"], rows)


if __name__ == "__main__":
    main()
