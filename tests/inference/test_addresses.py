"""Which model an address means, and what is told before it is loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import toy

from vilam.errors import VilamError
from vilam.inference.addresses import Addressed, find_model
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
    weights = (root / "models" / "token" / "model.safetensors").read_bytes()
    found = find_model("model.start", "models/token", root, SETTINGS)
    assert found.version == f"models/token sha256:{hashlib.sha256(weights).hexdigest()[:12]}"
    assert found.folder == root / "models" / "token"
    assert found.open().model.config.coordinate_bins == 101
    assert find_model("model.start", str(found.folder), Path("elsewhere")).folder == found.folder


def test_a_registered_model_is_known_by_its_number(root, monkeypatch):
    monkeypatch.setattr("vilam.tracking.pinned", lambda address, _: address.replace("@champion", "/3"))
    folders = {"models:/vilam/3": root / "models" / "token"}
    monkeypatch.setattr("vilam.tracking.download_model", lambda address, _: folders[address])
    found = find_model("evaluate.model", "models:/vilam@champion", root)
    assert found == Addressed("evaluate.model models:/vilam@champion", "models:/vilam/3", folders["models:/vilam/3"])


@pytest.mark.parametrize(
    ("name", "changes", "line"),
    [
        ("nowhere", {}, "no model in .*nowhere: name a model folder such as models/train"),
        ("models", {}, "no model in .*models: name a model folder such as models/train"),
        ("models/token", {"model__coordinates": "text"}, "its coordinates are token, model.coordinates is text"),
        ("models/text", {}, "its coordinates are text, model.coordinates is token"),
        ("models/token", {"model__coordinate_bins": 51}, "it has 101 coordinate bins, model.coordinate_bins is 51"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_setting(root, name, changes, line):
    with pytest.raises(VilamError, match=f"^synthesize.teacher {name}: .*{line}") as told:
        find_model("synthesize.teacher", name, root, toy.settings(**changes).model)
    assert "\n" not in str(told.value)


def test_text_asks_for_no_bins_and_who_does_not_learn_from_it_for_nothing(root):
    other = toy.settings(model__coordinates="text", model__coordinate_bins=51).model
    for same in (other, None):
        assert find_model("evaluate.model", "models/text", root, same).folder == root / "models" / "text"


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
    with pytest.raises(VilamError, match=f"^model.start {folder}: .*no config.json of a model of vilam") as told:
        find_model("model.start", str(folder), root, SETTINGS)
    assert "\n" not in str(told.value)


def test_weights_that_are_cut_off_are_told_before_they_are_loaded(root, tmp_path):
    folder = spoil(tmp_path, root, "model.safetensors", None)
    with pytest.raises(VilamError, match=r"model\.safetensors: damaged: .*: train or copy it again$") as told:
        find_model("model.start", str(folder), root)
    assert str(told.value).startswith(f"model.start {folder}: ") and "\n" not in str(told.value)


@pytest.mark.parametrize("file", ["tokenizer.json", "card.json", "run.json"])
def test_damage_is_told_when_it_is_opened(root, tmp_path, file):
    folder = spoil(tmp_path, root, file, None)
    with pytest.raises(VilamError, match=f"^model.start {folder}: ") as told:
        find_model("model.start", str(folder), root, SETTINGS).open()
    assert "\n" not in str(told.value)
