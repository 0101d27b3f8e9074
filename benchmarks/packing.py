"""Packing all instructions of an image behind one image prefix, compared with one instruction per sequence.

    python -m benchmarks.packing

The same images and instructions go through the same model both ways. The logits of the answers are compared in
float32; tokens are counted with image prefix and padding; times are those of a forward and a
backward pass in the precision of params.yaml. The two ways take turns.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

import torch

from benchmarks.scene_set import SceneSet, machine, make_scene_set, show
from vilam.inference.model import Model
from vilam.models.device import autocast, best_device, precision
from vilam.models.interface import GroundingModel
from vilam.training.batching import Batch, collate

IMAGES, ROUNDS, UNCOUNTED = 16, 8, 2


def both_ways(scenes: SceneSet, model: Model) -> dict[str, Batch]:
    """The instructions of a step's images packed, and each as a sequence of its own."""
    sampler = scenes.sampler()
    ids = sampler.image_ids(0, IMAGES)
    chosen = [sampler.sample(image_id, 0) for image_id in ids]
    images = [scenes.records[image_id].image for image_id in ids]
    repeated = [image for image, examples in zip(images, chosen, strict=True) for _ in examples]
    single = [[example] for examples in chosen for example in examples]
    return {
        "one instruction per sequence": collate(model, repeated, single),
        "packed": collate(model, images, chosen),
    }


def answer_logits(network: GroundingModel, batch: Batch) -> torch.Tensor:
    """Logits of all answer tokens, instruction by instruction (N, tokens)."""
    with torch.no_grad():
        logits: torch.Tensor = network(**batch.inputs, labels=batch.labels).logits
    return logits


def one_pass(network: GroundingModel, batch: Batch, dtype: torch.dtype) -> float:
    """Milliseconds of a forward and a backward pass."""
    began = time.perf_counter()
    with autocast(network, dtype):
        loss = network(**batch.inputs, labels=batch.labels).loss
    loss.backward()
    network.zero_grad()
    if network.device.type == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    """Measures and prints."""
    scenes = make_scene_set(2 * IMAGES)
    before = machine()
    model = scenes.model()
    network = model.network.to(best_device()).eval()
    batches = {name: batch.to(network.device) for name, batch in both_ways(scenes, model).items()}
    logits = [answer_logits(network, batch) for batch in batches.values()]
    difference = float((logits[0] - logits[1]).abs().max())
    prefix = network.encode_images(batches["packed"].inputs["pixel_values"][:1]).shape[1]
    dtype = precision(scenes.train.precision)
    taken: dict[str, list[float]] = {name: [] for name in batches}
    for _ in range(ROUNDS):
        for name, batch in batches.items():
            taken[name].append(one_pass(network, batch, dtype))
    shapes = {name: batch.inputs["input_ids"].shape for name, batch in batches.items()}
    tokens = {name: rows * (prefix + length) for name, (rows, length) in shapes.items()}
    ms = {name: median(one[UNCOUNTED:]) for name, one in taken.items()}
    table: list[list[object]] = [
        [name, rows, prefix + length, tokens[name], f"{ms[name]:.0f}"] for name, (rows, length) in shapes.items()
    ]
    table.append(["saved", "", "", saved(tokens), saved(ms)])
    num_instructions = shapes["one instruction per sequence"][0]
    show(
        f"Packing: {IMAGES} images, {num_instructions} instructions, {dtype}; {before}",
        ["way", "sequences", "tokens each", "tokens in all", "median ms forward + backward"],
        table,
    )
    scale = float(logits[0].std())
    print(
        f"\nLargest difference between {logits[0].numel()} logits: {difference:.1e} (their deviation is {scale:.2f})."
    )


def saved(measured: Mapping[str, float]) -> str:
    """The fraction of the first way that the second one saves."""
    alone, packed = measured.values()
    return f"{1 - packed / alone:.0%}"


if __name__ == "__main__":
    main()
