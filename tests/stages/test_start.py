"""Training that goes on from a trained model, joined or whole, with frozen parts and adapters (see tests/runs.py)."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
import toy

from vilam.models.build import Trained, load_trained


@pytest.fixture(scope="module", params=list(toy.ONWARDS))
def folder(projects: Path, request: pytest.FixtureRequest) -> Path:
    """A project whose model is not its own from the beginning."""
    return projects / request.param


@pytest.fixture(scope="module")
def models(folder: Path) -> list[Trained]:
    """The model that was gone on from, and those after step 1 and step 2."""
    start = folder / toy.ONWARDS[folder.name]
    return [load_trained(each) for each in (start, folder / "models" / "activate", folder / "models" / "train")]


def test_what_is_frozen_is_as_it_came_and_what_is_not_has_learnt(models):
    weights = [each.model.state_dict() for each in models]
    learns = {name: value.requires_grad for name, value in models[0].model.named_parameters()}
    for before, after in pairwise(weights):
        assert before.keys() == after.keys()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert any("lora_" in name for name in changed) and all(learns.get(name, True) for name in changed)
    assert not all(learns.values())


def test_it_knows_where_it_comes_from(folder, models):
    from mlflow import MlflowClient

    start, activated, trained = models
    version = activated.info["start"]
    assert version.startswith(f"{toy.ONWARDS[folder.name]} sha256:") and trained.info["start"] == version
    assert trained.info["stage"] == "train" and trained.info["run_id"] != start.info["run_id"]
    run = MlflowClient(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}").get_run(trained.info["run_id"])
    assert run.data.tags["start"] == version
    assert f"It went on from {version}, which was trained before." in (folder / "models/train/README.md").read_text()


def test_it_remembers_the_images_of_both_trainings(models):
    start, _, trained = models
    assert start.seen and start.seen <= trained.seen
