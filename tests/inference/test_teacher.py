"""The teacher: which version it is, and what is told before anything is loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import toy

from vilam.errors import VilamError
from vilam.inference.teacher import find_teacher
from vilam.models.build import Trained, save_trained

SETTINGS = toy.settings().model


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model folder of each coordinate form."""
    root = tmp_path_factory.mktemp("project")
    for form in ("token", "text"):
        trained = Trained(toy.model(coordinates=form), toy.tokenizer(form), toy.card(), {})
        save_trained(trained, root / "models" / form)
    return root


def test_a_folder_is_known_by_its_path_and_its_weights(root):
    teacher = find_teacher("models/token", root, SETTINGS)
    weights = (root / "models" / "token" / "model.safetensors").read_bytes()
    assert teacher.version == f"models/token sha256:{hashlib.sha256(weights).hexdigest()[:12]}"
    assert teacher.open().model.config.coordinate_bins == 101
    assert find_teacher(str(root / "models" / "token"), Path("elsewhere"), SETTINGS).folder == teacher.folder


@pytest.mark.parametrize(
    ("name", "changes", "line"),
    [
        ("nowhere", {}, "no model in .*nowhere: name a model folder"),
        ("models", {}, "no model in .*models: name a model folder"),
        ("models/token", {"model__coordinates": "text"}, "its coordinates are token, model.coordinates is text"),
        ("models/text", {}, "its coordinates are text, model.coordinates is token"),
        ("models/token", {"model__coordinate_bins": 51}, "it has 101 coordinate bins, model.coordinate_bins is 51"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_setting(root, name, changes, line):
    with pytest.raises(VilamError, match=f"^synthesize.teacher {name}: .*{line}") as told:
        find_teacher(name, root, toy.settings(**changes).model)
    assert "\n" not in str(told.value)


def test_text_asks_for_no_bins(root):
    other = toy.settings(model__coordinates="text", model__coordinate_bins=51).model
    assert find_teacher("models/text", root, other).name == "models/text"


def spoil(folder: Path, root: Path, file: str, content: bytes | None) -> Path:
    """A copy of the model folder with one file cut to ``content`` (None: half of it)."""
    for path in (root / "models" / "token").iterdir():
        folder.joinpath(path.name).write_bytes(path.read_bytes())
    path = folder / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
    return folder


@pytest.mark.parametrize("content", [None, b"{}", b"[]", json.dumps({"model_type": "llama"}).encode()])
def test_a_folder_of_another_model_or_half_a_config_is_told(root, tmp_path, content):
    folder = spoil(tmp_path, root, "config.json", content)
    with pytest.raises(VilamError, match=f"^synthesize.teacher {folder}: .*no config.json of a model of vilam") as told:
        find_teacher(str(folder), root, SETTINGS)
    assert "\n" not in str(told.value)


def test_weights_that_are_cut_off_are_told_before_they_are_loaded(root, tmp_path):
    folder = spoil(tmp_path, root, "model.safetensors", None)
    with pytest.raises(VilamError, match=f"^synthesize.teacher {folder}: .*model.safetensors: damaged: ") as told:
        find_teacher(str(folder), root, SETTINGS)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("file", ["tokenizer.json", "card.json", "run.json"])
def test_damage_is_told_when_it_is_opened(root, tmp_path, file):
    folder = spoil(tmp_path, root, file, None)
    with pytest.raises(VilamError, match=f"^synthesize.teacher {folder}: ") as told:
        find_teacher(str(folder), root, SETTINGS).open()
    assert "\n" not in str(told.value)
