"""Weights of other formats to a folder as of the hub: config.json, safetensors, and what a reader of it needs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, Dinov2Config, GgufConfig

from vilam.errors import VilamError
from vilam.models.lite import LiteTower, LiteTowerConfig

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
LITE = {"image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3}
LITE_NAMES = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_expand_conv": "expand.conv",
    "_depthwise_conv": "depthwise.conv",
    "_project_conv": "project.conv",
}
"""Of an EfficientNet-Lite's layers, by their names in PyTorch's ports of the network."""


def gguf_language_model(source: Path, folder: Path) -> None:
    """A language model and its tokenizer from a GGUF file, its weights as numbers of 32 bits.

    Raises VilamError where what reads the format is not installed.
    """
    where = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    try:
        model = AutoModelForCausalLM.from_pretrained(**where, quantization_config=GgufConfig(dequantize=True))
    except ImportError as error:
        raise VilamError(f"{source}: gguf is not installed: make small") from error
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)


def onnx_dinov2(source: Path, folder: Path) -> None:
    """A DINOv2 of which a graph in ONNX begins with ``backbone``: transformers' Dinov2Model, in the hub's names.

    In the graph the matrices have no names of their own and are transposed, and the place embeddings of the class token
    and of the patches are two constants. Raises VilamError where what reads the format is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise VilamError(f"{source}: onnx is not installed: make small") from error
    graph = onnx.load(source).graph
    values = {each.name: torch.from_numpy(onnx.numpy_helper.to_array(each).copy()) for each in graph.initializer}
    weights = {name.removeprefix("backbone."): value for name, value in values.items() if name.startswith("backbone.")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.name.startswith("/backbone/") and node.input[1] in values:
            name = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            weights[f"{name}.weight"] = values[node.input[1]].T.contiguous()
    places = [value for name, value in values.items() if name.startswith("onnx::") and value.dim() == 3]
    weights["embeddings.position_embeddings"] = torch.cat(sorted(places, key=Tensor.numel), dim=1)  # of the class first
    weights["embeddings.mask_token"] = torch.zeros(1, len(weights["layernorm.weight"]))  # only its pretraining needs it
    config = _dinov2_config(weights)
    config.save_pretrained(folder)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _write_statistics(folder, IMAGENET)


def lite_tower(source: Path, folder: Path) -> None:
    """An EfficientNet-Lite2 without its classifier, from a state dict of PyTorch."""
    tower = LiteTower(LiteTowerConfig())
    weights = torch.load(source, map_location="cpu", weights_only=True)
    blocks = [(stage, place) for stage, depth in enumerate(tower.config.depths) for place in range(depth)]
    tower.load_state_dict({_lite_name(name, blocks): value for name, value in weights.items() if _in_tower(name)})
    tower.save_pretrained(folder)
    _write_statistics(folder, LITE)


def _in_tower(name: str) -> bool:
    return not name.startswith(("_conv_head", "_bn1", "_fc"))


def _lite_name(name: str, blocks: Sequence[tuple[int, int]]) -> str:
    """``_blocks.4._bn1.bias`` -> ``stages.2.0.depthwise.norm.bias``."""
    head, *rest = name.split(".")
    if head != "_blocks":
        return ".".join([LITE_NAMES[head], *rest])
    number, layer, *rest = rest
    stage, place = blocks[int(number)]
    norms = {"_bn0": "expand.norm", "_bn1": "depthwise.norm", "_bn2": "project.norm"}
    return ".".join(["stages", str(stage), str(place), norms.get(layer) or LITE_NAMES[layer], *rest])


def _write_statistics(folder: Path, statistics: Mapping[str, list[float]]) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics, indent=2) + "\n", encoding="utf-8")


def _dinov2_config(weights: Mapping[str, Tensor]) -> Dinov2Config:
    width, _, _, patch = weights["embeddings.patch_embeddings.projection.weight"].shape
    return Dinov2Config(
        hidden_size=width,
        num_hidden_layers=sum(name.endswith("norm1.weight") for name in weights),
        num_attention_heads=width // 64,  # as in every DINOv2
        patch_size=patch,
        image_size=math.isqrt(weights["embeddings.position_embeddings"].shape[1] - 1) * patch,
    )
