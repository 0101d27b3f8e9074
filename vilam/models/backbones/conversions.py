"""Converts weights of other formats to the hub's layout: config.json, safetensors, tokenizer or pixel statistics."""

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
from vilam.models.backbones.efficientnet_lite import LiteTower, LiteTowerConfig

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
EFFICIENTNET_LITE = {"image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3}
"""Mean and standard deviation of RGB in [0, 1] with which these networks were trained."""
EFFICIENTNET_LITE_NAMES = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_expand_conv": "expand.conv",
    "_depthwise_conv": "depthwise.conv",
    "_project_conv": "project.conv",
}
"""The layers of `LiteTower` by their names in PyTorch's ports of EfficientNet-Lite."""


def gguf_language_model(source: Path, folder: Path) -> None:
    """A language model and its tokenizer from a GGUF file, with its weights in float32.

    Raises VilamError if the package gguf is not installed.
    """
    location = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    try:
        model = AutoModelForCausalLM.from_pretrained(**location, quantization_config=GgufConfig(dequantize=True))
    except ImportError as error:
        raise VilamError(
            f"{source}: gguf is not installed: make small, or pip install --no-deps -r requirements-small.lock"
        ) from error
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**location).save_pretrained(folder)


def onnx_dinov2(source: Path, folder: Path) -> None:
    """A DINOv2 from an ONNX graph that begins with ``backbone``, as transformers' Dinov2Model.

    In the graph the matrices have no names of their own and are transposed, and the position embeddings of the class
    token and of the patches are two constants. Raises VilamError if the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise VilamError(
            f"{source}: onnx is not installed: make small, or pip install --no-deps -r requirements-small.lock"
        ) from error
    graph = onnx.load(source).graph
    values = {each.name: torch.from_numpy(onnx.numpy_helper.to_array(each).copy()) for each in graph.initializer}
    weights = {name.removeprefix("backbone."): value for name, value in values.items() if name.startswith("backbone.")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.name.startswith("/backbone/") and node.input[1] in values:
            name = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            weights[f"{name}.weight"] = values[node.input[1]].T.contiguous()
    positions = [value for name, value in values.items() if name.startswith("onnx::") and value.dim() == 3]
    weights["embeddings.position_embeddings"] = torch.cat(
        sorted(positions, key=Tensor.numel), dim=1
    )  # class token first
    weights["embeddings.mask_token"] = torch.zeros(1, len(weights["layernorm.weight"]))  # used only in its pretraining
    config = _dinov2_config(weights)
    config.save_pretrained(folder)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _write_statistics(folder, IMAGENET)


def efficientnet_lite(source: Path, folder: Path) -> None:
    """An EfficientNet-Lite2 without its classifier, from a state dict of PyTorch."""
    tower = LiteTower(LiteTowerConfig())
    weights = torch.load(source, map_location="cpu", weights_only=True)
    blocks = [(stage, block) for stage, depth in enumerate(tower.config.depths) for block in range(depth)]
    classifier = ("_conv_head", "_bn1", "_fc")
    tower.load_state_dict(
        {_tower_name(name, blocks): value for name, value in weights.items() if not name.startswith(classifier)}
    )
    tower.save_pretrained(folder)
    _write_statistics(folder, EFFICIENTNET_LITE)


def _tower_name(name: str, blocks: Sequence[tuple[int, int]]) -> str:
    """``_blocks.4._bn1.bias`` -> ``stages.2.0.depthwise.norm.bias``."""
    head, *rest = name.split(".")
    if head != "_blocks":
        return ".".join([EFFICIENTNET_LITE_NAMES[head], *rest])
    number, layer, *rest = rest
    stage, block = blocks[int(number)]
    norms = {"_bn0": "expand.norm", "_bn1": "depthwise.norm", "_bn2": "project.norm"}
    layer_name = norms.get(layer) or EFFICIENTNET_LITE_NAMES[layer]
    return ".".join(["stages", str(stage), str(block), layer_name, *rest])


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
