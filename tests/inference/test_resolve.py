"""The model that an address means, and the mistakes that are reported before it is loaded."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import hf_checkpoints
import pytest
import toy
from PIL import Image

from vilam.errors import VilamError
from vilam.inference.predictor import Predictor
from vilam.inference.resolve import ResolvedModel, resolve_model
from vilam.models.build import LoadedModel, save_model

SETTINGS = toy.settings().model


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model folder of each coordinate form."""
    root = tmp_path_factory.mktemp("project")
    for form in ("token", "text"):
        loaded = LoadedModel(toy.model(coordinates=form), toy.tokenizer(form), toy.card(), {})
        save_model(loaded, root / "models" / form)
    return root


def test_the_version_of_a_folder_is_its_path_and_checksum(root):
    weights = (root / "models" / "token" / "model.safetensors").read_bytes()
    found = resolve_model("model.fine_tune_from", "models/token", root, SETTINGS)
    assert found.version == f"models/token sha256:{hashlib.sha256(weights).hexdigest()[:12]}"
    assert found.folder == root / "models" / "token"
    assert found.open().network.config.coordinate_bins == 101
    assert resolve_model("model.fine_tune_from", str(found.folder), Path("elsewhere")).folder == found.folder


def test_a_model_is_recovered_if_its_replacement_was_killed(root):
    folder = root / "models" / "token"
    version = resolve_model("evaluate.model", "models/token", root).version
    folder.rename(folder.with_name(".token.old"))
    assert resolve_model("evaluate.model", "models/token", root).version == version and folder.is_dir()


def test_the_version_of_a_registered_model_is_its_number(root, monkeypatch):
    monkeypatch.setattr("vilam.tracking.registry.pinned", lambda address, _: address.replace("@champion", "/3"))
    folders = {"models:/vilam/3": root / "models" / "token"}
    monkeypatch.setattr("vilam.tracking.registry.download_model", lambda address, _: folders[address])
    found = resolve_model("evaluate.model", "models:/vilam@champion", root)
    assert found == ResolvedModel(
        "evaluate.model models:/vilam@champion", "models:/vilam/3", folders["models:/vilam/3"]
    )


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
def test_a_mistake_is_reported_in_one_line_with_the_setting(root, name, changes, line):
    with pytest.raises(VilamError, match=f"^synthesize.teacher {name}: .*{line}") as caught:
        resolve_model("synthesize.teacher", name, root, toy.settings(**changes).model)
    assert "\n" not in str(caught.value)


def test_the_text_form_has_no_bins_to_compare(root):
    other = toy.settings(model__coordinates="text", model__coordinate_bins=51).model
    for same in (other, None):
        assert resolve_model("evaluate.model", "models/text", root, same).folder == root / "models" / "text"


def damaged_copy(folder: Path, root: Path, file: str, content: bytes | None) -> Path:
    """A copy of the model folder with one file cut to ``content`` (None: half of it)."""
    for path in (root / "models" / "token").iterdir():
        folder.joinpath(path.name).write_bytes(path.read_bytes())
    path = folder / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
    return folder


def test_a_model_of_an_unknown_kind_is_told_what_it_lacks(root, tmp_path):
    folder = damaged_copy(tmp_path, root, "config.json", json.dumps({"model_type": "llama"}).encode())
    line = f"^synthesize.teacher {folder}: how a llama writes places is not known: write configs/conventions/llama.yaml"
    with pytest.raises(VilamError, match=line) as caught:
        resolve_model("synthesize.teacher", str(folder), root, SETTINGS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"{}", b"[]", json.dumps({"model_type": "vilam"}).encode()])
def test_a_folder_of_another_model_or_half_a_config_is_reported(root, tmp_path, content):
    folder = damaged_copy(tmp_path, root, "config.json", content)
    with pytest.raises(
        VilamError, match=f"^model.fine_tune_from {folder}: .*no config.json of a model of vilam"
    ) as caught:
        resolve_model("model.fine_tune_from", str(folder), root, SETTINGS)
    assert "\n" not in str(caught.value)


def test_truncated_weights_are_reported_before_they_are_loaded(root, tmp_path):
    folder = damaged_copy(tmp_path, root, "model.safetensors", None)
    with pytest.raises(VilamError, match=r"model\.safetensors: damaged: .*: train or copy it again$") as caught:
        resolve_model("model.fine_tune_from", str(folder), root)
    assert str(caught.value).startswith(f"model.fine_tune_from {folder}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["tokenizer.json", "card.json", "run.json"])
def test_damage_is_reported_when_the_model_is_opened(root, tmp_path, file):
    folder = damaged_copy(tmp_path, root, file, None)
    with pytest.raises(VilamError, match=f"^model.fine_tune_from {folder}: ") as caught:
        resolve_model("model.fine_tune_from", str(folder), root, SETTINGS).open()
    assert "\n" not in str(caught.value)


# Checkpoints that were not trained here.


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3-VL as transformers wrote it."""
    folder = tmp_path_factory.mktemp("untrained") / "qwen3-vl"
    hf_checkpoints.HF_CHECKPOINTS["qwen3-vl"](folder)
    return folder


def test_an_untrained_checkpoint_answers(untrained):
    found = resolve_model("evaluate.model", str(untrained), Path("elsewhere"), SETTINGS)
    assert found.version.startswith(f"{untrained} sha256:")
    predictor = Predictor(found.open())
    image = Image.new("RGB", (80, 60), "red")
    left, top, right, bottom = predictor.locate(image, "the red circle").box_xyxy or (0, 0, 0, 0)
    assert 0 <= left < right <= 80 and 0 <= top < bottom <= 60
    with pytest.raises(VilamError, match="reg_class: the model was not trained here, and knows no categories"):
        predictor.classify(image, (0, 0, 40, 40))


def test_a_name_of_the_hub_is_looked_up_in_its_cache(untrained, tmp_path, monkeypatch):
    """As the hub lays it out there; nothing is downloaded."""
    cache = tmp_path / "models--someone--qwen3-vl"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("0" * 40)
    shutil.copytree(untrained, cache / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = resolve_model("evaluate.model", "someone/qwen3-vl", tmp_path)
    assert found.folder == cache / "snapshots" / ("0" * 40)
    with pytest.raises(
        VilamError, match="someone/else: no folder is called someone/else, and no model of the hub can"
    ) as caught:
        resolve_model("evaluate.model", "someone/else", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_mistyped_folder_is_not_looked_up(root):
    with pytest.raises(VilamError, match=r"no model in .*models/trian: name a model folder such as models/train"):
        resolve_model("evaluate.model", "models/trian", root)


def test_a_damaged_checkpoint_is_told_by_what_named_it(untrained, tmp_path):
    shutil.copytree(untrained, tmp_path / "bad")
    (tmp_path / "bad" / "tokenizer.json").unlink()
    with pytest.raises(VilamError, match=r"^evaluate\.model bad: .*its tokenizer cannot write plain words") as caught:
        resolve_model("evaluate.model", "bad", tmp_path).open()
    assert "model.checkpoint" not in str(caught.value)
