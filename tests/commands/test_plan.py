"""`vilam plan`: numbers of the model that is built, from small files alone; a mistake is one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import hf_checkpoints
import pytest

from vilam.commands.plan import plan, show
from vilam.config import load_settings
from vilam.errors import VilamError
from vilam.layout import Layout, shipped
from vilam.models.build import build_model, build_tokenizer
from vilam.planning.material import open_material
from vilam.planning.plan import Plan

SMALL = ("optimiser.batch_size=2", "optimiser.instructions_per_image=3", "train.steps=20", "optimiser.precision=fp32")


def planned(capsys: pytest.CaptureFixture[str], *given: str) -> dict[str, Any]:
    plan(shipped() / "params.yaml", [*SMALL, *given], "train", "64x64", 1e9, as_json=True)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(autouse=True)
def _in_an_empty_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").symlink_to(shipped() / "configs")
    monkeypatch.chdir(tmp_path)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    values: dict[str, Any] = dict.fromkeys(Plan.__slots__, 1 << 30) | {"data": "scenes", "precision": "float32"}
    show(Plan(**values), 2.5)
    printed = capsys.readouterr().out
    assert "2.5 s at the given speed (computed, not measured)" in printed
    assert re.search(r"peak of the process +1\.000$", printed, re.M)


def test_the_default_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = planned(capsys)
    settings = load_settings(shipped() / "params.yaml")
    texts = open_material(settings, Layout(tmp_path), (64, 64)).texts()
    network = build_model(settings.model, build_tokenizer(settings.model, texts), 0)
    count = sum(weight.numel() for weight in network.parameters())
    assert found["parameters"] == pytest.approx(count, rel=0.05)  # fewer texts, fewer words
    assert found["optimiser"] == 2 * found["gradients"] == 8 * found["trained"] == 8 * found["parameters"]
    assert found["picture_tokens"] == 64 and (found["pictures"], found["instructions"]) == (2, 6)
    assert found["peak"] > found["weights"] + found["optimiser"] + found["saved"]
    assert found["seconds"] == found["flops"] / 1e9


def test_adapters_of_the_default_model(capsys: pytest.CaptureFixture[str]) -> None:
    lora = "model.language.lora={rank: 64, targets: [q_proj]}"
    without, found = (planned(capsys, "model.language.frozen=true", *more) for more in ((), (lora,)))
    language = load_settings(shipped() / "params.yaml").model.language.config
    count = language["num_hidden_layers"] * 64 * 2 * language["hidden_size"]
    assert found["trained"] - without["trained"] == found["parameters"] - without["parameters"] == count


@pytest.mark.parametrize("rank", [4, 128])  # of a few numbers, and of thousands as those of published models
def test_a_checkpoint_without_its_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path, rank: int) -> None:
    folder = tmp_path / "model"
    hf_checkpoints.HF_CHECKPOINTS["qwen2.5-vl"](folder)
    capsys.readouterr()  # what libraries print as they are imported
    for file in folder.glob("*.safetensors"):
        file.unlink()
    given = (f"model.checkpoint={folder}", "train.cycle.mode=none", "model.language.frozen=true")
    given += ("model.vision.frozen=true", "model.freeze_aligner=true", "optimiser.gradient_checkpointing=true")
    found = planned(capsys, *given, f"model.language.lora={{rank: {rank}, targets: [q_proj]}}")
    config = json.loads((folder / "config.json").read_text())["text_config"]
    assert found["trained"] == config["num_hidden_layers"] * rank * 2 * config["hidden_size"]
    assert found["picture_tokens"] > 0 and found["teacher"] == 0 and 8 * found["trained"] == found["optimiser"]


@pytest.mark.parametrize(
    ("given", "phase", "picture", "message"),
    [
        (("train.batch_size",), "train", "64x64", "expected NAME=VALUE"),
        (("train.batchsize=4",), "train", "64x64", "train.batchsize"),
        ((), "evaluate", "64x64", "expected activate or train"),
        ((), "train", "64", "expected WIDTHxHEIGHT"),
        (("optimiser.processes=3",), "train", "64x64", "does not divide over 3 processes"),
    ],
)
def test_mistakes_are_one_line(given: tuple[str, ...], phase: str, picture: str, message: str) -> None:
    with pytest.raises(VilamError, match=message) as error:
        plan(shipped() / "params.yaml", [*SMALL, *given], phase, picture, None, as_json=False)
    assert "\n" not in str(error.value)
