"""Pretrained parts in all stages: a frozen tower, and adapters of a frozen language model (see tests/runs.py)."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import pytest
import torch
import toy
from PIL import Image
from transformers import AutoModel, AutoModelForCausalLM

from vilam.inference.predictor import Predictor
from vilam.models.build import LoadedModel, load_model
from vilam.models.device import precision


@pytest.fixture(scope="module")
def folder(projects: Path) -> Path:
    """The project whose model starts from checkpoints."""
    return projects / "pretrained"


@pytest.fixture(scope="module")
def trained(folder: Path) -> LoadedModel:
    """The model after train."""
    return load_model(folder / "models" / "train")


def test_checkpoints_consist_of_several_files(folder):
    for part in ("vision", "language"):
        assert len(list((folder / part).glob("*.safetensors"))) > 1


def test_frozen_weights_are_those_of_the_checkpoint(folder, trained):
    vision = AutoModel.from_pretrained(folder / "vision").state_dict()
    language = AutoModelForCausalLM.from_pretrained(folder / "language").state_dict()
    found = trained.network.vision.state_dict()
    assert found.keys() == vision.keys() and all(torch.equal(found[name], vision[name]) for name in vision)
    found = {name.replace(".base_layer", ""): value for name, value in trained.network.language.state_dict().items()}
    assert found.keys() >= language.keys() and all(torch.equal(found[name], language[name]) for name in language)


def test_adapters_and_new_parts_have_changed(folder, trained):
    before, after = load_model(folder / "models" / "activate").network.state_dict(), trained.network.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    adapters = {name for name in after if "lora_" in name}
    assert len(adapters) == 8 and changed >= adapters
    assert {name.partition(".")[0] for name in changed} == {"aligner", "coordinates", "grounder", "language"}


def test_the_features_of_each_image_were_computed_once(folder):
    """In training, validation and evaluation.

    Evaluation uses bf16 if that is fast, so it cannot use features that were computed in fp32.
    """
    kept = list((folder / "cache" / "features").glob("*/*/*.npy"))
    folders = {file.parents[1] for file in kept}
    assert len(folders) == (1 if precision("auto") == torch.float32 else 2)
    for own in folders:
        assert 0 < len([file for file in kept if own in file.parents]) <= len(toy.scenes())


def test_the_model_answers_and_is_evaluated(folder):
    metrics = json.loads((folder / "metrics" / "evaluate.json").read_text())["train"]
    assert 0 <= metrics["rec_box/acc_0.5"] <= 1 and metrics["rec_box/invalid"] == 0
    predictor = Predictor.from_pretrained(folder / "models" / "train")
    with Image.open(BytesIO(toy.scenes()[0].image)) as image:
        found = predictor.locate(image, "the red circle")
        assert found.box_xyxy is not None and found == predictor.locate(image, "the red circle")


def test_the_card_has_the_number_of_trained_parameters(folder, trained):
    text = (folder / "models" / "train" / "README.md").read_text()
    count = sum(value.numel() for name, value in trained.network.language.state_dict().items() if "lora_" in name)
    assert f" {count:,} |" in next(line for line in text.splitlines() if line.startswith("| language | language |"))
