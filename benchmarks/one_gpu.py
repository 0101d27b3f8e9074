"""What `vilam plan` computes for published models on one GPU: memory of a process and operations of a step.

    python -m benchmarks.one_gpu [NAME ...]

No weights are needed: the configs below state the published sizes, the tokenizer and the processor are those of a
random model. Pictures are generated scenes of 1280 x 960 pixels, the cycle is on (``pseudo``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.random_vlm import write_random_vlm
from benchmarks.scene_set import PROJECT, machine, settings_of, show
from vilam.config import Settings
from vilam.layout import Layout
from vilam.planning.material import open_material
from vilam.planning.plan import make_plan

GIB = 1 << 30
SIZE = (1280, 960)
TEXT = {"vocab_size": 151_936, "num_key_value_heads": 8, "head_dim": 128}
LARGE_TOWER = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "deepstack_visual_indexes": [5, 11, 17]}
HUGE_TOWER = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "deepstack_visual_indexes": [8, 16, 24]}
MODELS: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "Qwen3-VL-2B": (
        LARGE_TOWER,
        {"hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16, "intermediate_size": 6144},
    ),
    "Qwen3-VL-4B": (
        LARGE_TOWER,
        {"hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32, "intermediate_size": 9728},
    ),
    "Qwen3-VL-8B": (
        HUGE_TOWER,
        {"hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32, "intermediate_size": 12_288},
    ),
}
"""The vision tower and the language model, from config.json of Qwen/Qwen3-VL-*-Instruct."""
UNTIED = {"Qwen3-VL-8B"}
"""Whose output layer has weights of its own."""
LORA = {"rank": 16, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"]}
FROZEN = {"model.vision.frozen": True, "model.language.frozen": True}
WAYS: dict[str, Mapping[str, Any]] = {
    "LoRA": {**FROZEN, "model.language.lora": LORA},
    "LoRA, 4 bits": {**FROZEN, "model.language.lora": {**LORA, "bits": 4}},
    "everything": {},
}
PICTURES = (1, 4, 16)


def settings_for(checkpoint: Path, own: Mapping[str, Any], pictures: int) -> Settings:
    """Those of params.yaml for a checkpoint, in bf16, with gradient checkpointing."""
    common = {
        "model.checkpoint": str(checkpoint),
        "model.max_pixels": 1280 * 32 * 32,
        "model.vision.cache": False,
        "train.cycle.mode": "pseudo",
        "optimiser.batch_size": pictures,
        "optimiser.precision": "bf16",
        "optimiser.gradient_checkpointing": True,
    }
    return settings_of({**common, **own})


def write(name: str, folder: Path) -> None:
    """A folder without weights: config.json of the published size, beside a small tokenizer and processor."""
    texts = open_material(settings_of({}), Layout(PROJECT), SIZE).texts()
    write_random_vlm(folder, texts, 64, 1, SIZE[0] * SIZE[1])
    vision, text = MODELS[name]
    own = json.loads((folder / "config.json").read_text())
    own["vision_config"] |= {**vision, "num_heads": 16, "out_hidden_size": text["hidden_size"]}
    own["vision_config"]["num_position_embeddings"] = 2304
    own["text_config"] |= {**TEXT, **text}
    own["text_config"]["rope_parameters"]["mrope_section"] = [24, 20, 20]
    own["tie_word_embeddings"] = own["text_config"]["tie_word_embeddings"] = name not in UNTIED
    (folder / "config.json").write_text(json.dumps(own))
    (folder / "model.safetensors").unlink()


def main() -> None:
    """Prints the table; names choose the models."""
    rows = []
    with TemporaryDirectory() as root:
        for name in sys.argv[1:] or MODELS:
            write(name, Path(root, name))
            for way, own in WAYS.items():
                for pictures in PICTURES:
                    found = make_plan(settings_for(Path(root, name), own, pictures), PROJECT, "train", SIZE)
                    sizes = [f"{found.parameters / 1e9:.2f}", f"{found.trained / 1e6:,.0f}", str(found.tokens)]
                    memory = [f"{one / GIB:.1f}" for one in (found.weights, found.backward, found.step, found.peak)]
                    rows.append([name, way, str(pictures), *sizes, *memory, f"{found.flops / 1e12:,.0f}"])
                    print(*rows[-1], file=sys.stderr, flush=True)
    print(machine())
    columns = ["model", "trained", "pictures", "10⁹ weights", "10⁶ trained", "tokens"]
    show("One GPU, GiB", [*columns, "weights", "passes", "step", "peak", "10¹² operations"], rows)


if __name__ == "__main__":
    main()
