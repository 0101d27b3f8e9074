"""Which model an address means, and what is told before it is loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import toy

from vilam.errors import VilamError
from vilam.inference.addresses import Addressed, find_model
from vilam.models.build import Trained, save_trained


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model folder."""
    root = tmp_path_factory.mktemp("project")
    save_trained(Trained(toy.model(), toy.tokenizer(), toy.card(), {}), root / "models" / "train")
    return root


def test_a_folder_is_known_by_its_path_and_its_weights(root):
    weights = (root / "models" / "train" / "model.safetensors").read_bytes()
    found = find_model("models/train", root)
    assert found.version == f"models/train sha256:{hashlib.sha256(weights).hexdigest()[:12]}"
    assert found.folder == root / "models" / "train"
    assert find_model(str(found.folder), Path("elsewhere")).folder == found.folder


def test_a_registered_model_is_known_by_its_number(root, monkeypatch):
    monkeypatch.setattr("vilam.tracking.pinned", lambda address, _: address.replace("@champion", "/3"))
    folders = {"models:/vilam/3": root / "models" / "train"}
    monkeypatch.setattr("vilam.tracking.download_model", lambda address, _: folders[address])
    assert find_model("models:/vilam@champion", root) == Addressed("models:/vilam/3", root / "models" / "train")


@pytest.mark.parametrize("name", ["nowhere", "models"])
def test_a_folder_without_a_model_is_told(root, name):
    with pytest.raises(VilamError, match=f"^no model in .*{name}: name a model folder such as models/train"):
        find_model(name, root)


def test_weights_that_are_cut_off_are_told(root, tmp_path):
    content = (root / "models" / "train" / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(VilamError, match=r"model\.safetensors: damaged: .*: train or copy it again$") as told:
        find_model(str(tmp_path), root)
    assert "\n" not in str(told.value)
