"""The folder of a trained model: damage is told in one line, and an old one stays until the new one is whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import toy

from vilam.errors import VilamError
from vilam.models.build import Trained, keep_features, load_trained, save_trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_trained(Trained(toy.model(), toy.tokenizer(), toy.card(), {"stage": "train"}), folder)
    return folder


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "run.json", "card.json"])
@pytest.mark.parametrize("how", ["cut", "missing"])
def test_a_damaged_folder_is_told_in_one_line(folder, tmp_path, name, how):
    shutil.copytree(folder, tmp_path / "model")
    file = tmp_path / "model" / name
    if how == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.unlink()
    with pytest.raises(VilamError, match="model") as caught:
        load_trained(tmp_path / "model")
    assert "\n" not in str(caught.value)


def test_what_was_there_stays_until_the_new_model_is_whole(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "model")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    trained = load_trained(tmp_path / "model")
    monkeypatch.setattr("vilam.models.build.write_card", full)
    with pytest.raises(VilamError, match="No space left"):
        save_trained(trained, tmp_path / "model")
    assert load_trained(tmp_path / "model").info == {"stage": "train"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_features_of_a_tower_that_is_trained_are_not_kept(folder):
    vision = {**toy.params()["model"]["vision"], "frozen": True, "cache": True}
    settings = toy.settings(model__start=str(folder), model__vision=vision).model
    with pytest.raises(VilamError, match=r"^model\.vision\.cache: model\.start .* has no frozen tower"):
        keep_features(load_trained(folder).model, settings)
