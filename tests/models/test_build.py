"""The folder of a trained model: damage is reported in one line, and an old one stays until the new one is complete."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import toy

from vilam.errors import VilamError
from vilam.models.build import LoadedModel, keep_features, load_model, save_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_model(LoadedModel(toy.model(), toy.tokenizer(), toy.card(), {"stage": "train"}), folder)
    return folder


FILES = ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "run.json", "card.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["cut", "missing", "empty list"])
def test_a_damaged_folder_is_reported_in_one_line(folder, tmp_path, name, how):
    shutil.copytree(folder, tmp_path / "model")
    file = tmp_path / "model" / name
    if how == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif how == "missing":
        file.unlink()
    else:
        file.write_text("[]")
    with pytest.raises(VilamError, match="model") as caught:
        load_model(tmp_path / "model")
    assert "\n" not in str(caught.value)


def test_the_old_folder_stays_if_the_new_one_cannot_be_written(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "model")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    loaded = load_model(tmp_path / "model")
    monkeypatch.setattr("vilam.models.build.write_card", full)
    with pytest.raises(VilamError, match="No space left"):
        save_model(loaded, tmp_path / "model")
    assert load_model(tmp_path / "model").info == {"stage": "train"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_is_recovered_if_its_replacement_was_killed(folder, tmp_path):
    shutil.copytree(folder, tmp_path / ".model.old")
    assert load_model(tmp_path / "model").info == {"stage": "train"}


def test_features_of_a_trained_tower_are_not_cached(folder):
    vision = {**toy.params()["model"]["vision"], "frozen": True, "cache": True}
    settings = toy.settings(model__fine_tune_from=str(folder), model__vision=vision).model
    with pytest.raises(VilamError, match=r"^model\.vision\.cache: model\.fine_tune_from .* has no frozen tower"):
        keep_features(load_model(folder).network, settings)
