"""Whole models of transformers through the stages (see tests/runs.py): each of stock.py's checkpoints."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import pytest
import stock
import torch
import toy
from PIL import Image
from transformers import AutoModelForImageTextToText

from vilam.config import check_settings
from vilam.data.instructions import read_instructions
from vilam.errors import VilamError
from vilam.inference.exporting import export
from vilam.inference.predictor import Predictor
from vilam.models.adapters import ADAPTER, BASE
from vilam.models.build import load_trained
from vilam.models.stock import StockModel
from vilam.stages import activate

every_family = pytest.mark.parametrize("name", stock.STOCK)


def folder(projects: Path, name: str) -> Path:
    return projects / f"stock-{name}"


def weights(model: StockModel) -> dict[str, torch.Tensor]:
    return {name.replace(BASE, ""): value for name, value in model.stock.state_dict().items()}


def trained(root: Path, stage: str = "train") -> StockModel:
    model = load_trained(root / "models" / stage).model
    assert isinstance(model, StockModel)
    return model


def same(value: torch.Tensor, before: torch.Tensor) -> bool:
    """Also in the bf16 in which a run that multiplies so holds frozen matrices."""
    return torch.equal(value, before) or torch.equal(value, before.bfloat16().float())


@every_family
def test_what_is_frozen_is_as_it_came_and_the_rest_has_learnt(name, projects):
    root = folder(projects, name)
    before = AutoModelForImageTextToText.from_pretrained(root / "checkpoint", dtype=torch.float32).state_dict()
    model = trained(root)
    found = weights(model)
    assert {key for key in found if ADAPTER not in key} == before.keys()
    changed = {key for key, value in found.items() if key not in before or not same(value, before[key])}
    frozen = {key for key in before if model.known.part(key) in model.frozen}
    assert changed and not changed & frozen
    assert {model.known.part(key) for key in changed} == {"vision", "aligner", "language"} - (
        set(model.frozen) - ({"language"} if model.lora else set())
    )


@every_family
def test_step_2_goes_on_from_step_1(name, projects):
    first, second = (weights(trained(folder(projects, name), stage)) for stage in ("activate", "train"))
    assert first.keys() == second.keys()
    assert any(not torch.equal(first[key], second[key]) for key in first)


@every_family
def test_it_is_scored_and_answers_inside_the_picture(name, projects):
    root = folder(projects, name)
    metrics = json.loads((root / "metrics" / "evaluate.json").read_text())["train"]
    assert metrics["rec_box/invalid"] == 0 and 0 <= metrics["rec_box/acc_0.5"] <= 1
    predictor = Predictor.from_pretrained(root / "models" / "train")
    with Image.open(BytesIO(toy.scenes()[0].image)) as picture:
        found = predictor.locate(picture, "the red circle")
        assert found.box_xyxy is not None and found == predictor.locate(picture, "the red circle")
        x1, y1, x2, y2 = found.box_xyxy
        assert 0 <= x1 < x2 <= picture.width and 0 <= y1 < y2 <= picture.height
        assert predictor.classify(picture, (5, 5, 30, 40)).words in toy.card().categories


@every_family
def test_its_folder_is_transformers_own_and_its_card_says_what_was_trained(name, projects):
    model_folder = folder(projects, name) / "models" / "train"
    assert not [file for file in model_folder.iterdir() if file.suffix in (".bin", ".pt", ".pth", ".pkl")]
    model = trained(folder(projects, name))
    opened = AutoModelForImageTextToText.from_pretrained(model_folder, dtype=torch.float32).state_dict()
    found = weights(model)
    assert all(torch.equal(value, found[key]) for key, value in opened.items())
    card = (model_folder / "README.md").read_text()
    assert f"A {model.config.model_type} of transformers" in card
    count = sum(weight.numel() for weight in model.parts()["aligner"])
    assert f"| aligner | checkpoint |  |  | {count:,} | {count:,} |" in card


def test_one_describes_regions_for_the_next(projects):
    root = folder(projects, "paligemma")
    before = list(read_instructions(root / "data" / "instructions-before", "train"))
    after = list(read_instructions(root / "data" / "instructions", "train"))
    told = [each for each in after if each.expression_source == "model"]
    assert told and len(after) > len(before)
    assert not any(character.isdigit() or character in "<>[]" for each in told for character in each.expression)


def test_export(projects, tmp_path, capsys):
    root = folder(projects, "blip2-opt")
    export(str(root / "models" / "train"), tmp_path / "out", root)
    assert "blip-2" in capsys.readouterr().out
    assert not {"stock.json", "adapters.safetensors", "run.json"} & {path.name for path in (tmp_path / "out").iterdir()}
    with pytest.raises(VilamError, match="is there already"):
        export(str(root / "models" / "train"), tmp_path / "out", root)
    with pytest.raises(VilamError, match="joined here"):
        export(str(projects / "whole" / "models" / "train"), tmp_path / "other", projects / "whole")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train__cycle__mode": "soft"}, "train.cycle.mode soft is for parts"),
        ({"model__vision__cache": True, "model__vision__frozen": True}, "vision.cache is for a vision tower"),
        ({"model__checkpoint": "nothing/here"}, r"model.checkpoint nothing/here: .* put its config.json"),
        ({"model__checkpoint": "data"}, r"model.checkpoint data: .* put its config.json"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_and_leaves_nothing(changes, told, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    root = toy.write_project(tmp_path / "project", **toy.WHOLE)
    monkeypatch.chdir(root)
    before = set(root.rglob("*"))
    with pytest.raises(VilamError, match=told) as caught:
        activate.run(check_settings(toy.params(**{**toy.WHOLE, **changes}), "params.yaml"), root)
    assert "\n" not in str(caught.value)
    assert set(root.rglob("*")) == before
