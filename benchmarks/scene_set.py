"""The common part of the benchmarks: the settings of params.yaml, generated scenes in memory, the model, a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vilam.config import OptimiserSettings, Settings, check_settings, load_settings, read_yaml
from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, ImageRecord
from vilam.data.scenes import CATEGORIES, LICENCE, generate_scene, keypoint_schemas
from vilam.inference.model import Model
from vilam.models.build import build_model, build_tokenizer
from vilam.models.interface import Tokens
from vilam.overrides import override
from vilam.tasks import TASKS
from vilam.tasks.synthesis import render
from vilam.training.batching import Batch, collate
from vilam.training.sampling import InstructionSampler

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class SceneSet:
    """Scenes with their instructions, and the training settings of params.yaml."""

    settings: Settings
    card: DatasetCard
    records: dict[str, ImageRecord]
    instructions: list[Instruction]
    tokenizer: Tokens

    @property
    def train(self) -> OptimiserSettings:
        """The settings of `train`."""
        return self.settings.train

    def model(self) -> Model:
        """The model of params.yaml with random weights, the same each time."""
        network = build_model(self.settings.model, self.tokenizer, self.settings.seed)
        return Model.for_data(network, self.tokenizer, self.card)

    def sampler(self) -> InstructionSampler:
        """Samples as `train` does."""
        own = self.settings.train
        return InstructionSampler(self.instructions, own.tasks, own.instructions_per_image, self.settings.seed)

    def batch(self, step: int, size: int, model: Model) -> Batch:
        """The packed batch of a step."""
        sampler = self.sampler()
        ids = sampler.image_ids(step, size)
        images = [self.records[image_id].image for image_id in ids]
        return collate(model, images, [sampler.sample(image_id, step) for image_id in ids])


def settings_of(overrides: Mapping[str, Any]) -> Settings:
    """Those of params.yaml with others in their place."""
    content = read_yaml(PROJECT / "params.yaml")
    override(content, overrides, "benchmarks")
    return check_settings(content, "benchmarks")


def make_scene_set(num_images: int) -> SceneSet:
    """Generates the scenes, renders their instructions and trains a tokenizer on them."""
    settings = load_settings(PROJECT / "params.yaml")
    size = settings.prepare.scenes.image_size
    card = DatasetCard("scenes", tuple(CATEGORIES), keypoint_schemas(), ("train",), (LICENCE,), {})
    records = [generate_scene(settings.seed, i, "train", size) for i in range(num_images)]
    per_region = settings.synthesize.expressions_per_region
    found = [one for each in records for one in render(each, card, TASKS.values(), per_region, settings.seed)]
    tokenizer = build_tokenizer(settings.model, (text for one in found for text in (one.question, one.answer)))
    return SceneSet(settings, card, {record.image_id: record for record in records}, found, tokenizer)


def machine() -> str:
    """The machine that the numbers were measured on."""
    import torch

    load = os.getloadavg()[0]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {device}, load average before {load:.1f}"


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a Markdown table."""
    print(f"\n{title}\n")
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
