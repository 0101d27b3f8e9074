"""Fine-tuning of a composed model and a Hugging Face VLM, with frozen parts and adapters (see tests/runs.py)."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
import toy

from vilam.models.build import LoadedModel, load_model


@pytest.fixture(scope="module", params=list(toy.FINE_TUNED))
def folder(projects: Path, request: pytest.FixtureRequest) -> Path:
    """A project that fine-tunes the model of another one."""
    return projects / request.param


@pytest.fixture(scope="module")
def models(folder: Path) -> list[LoadedModel]:
    """The model that was fine-tuned, and those after activate and train."""
    start = folder / toy.FINE_TUNED[folder.name]
    return [load_model(each) for each in (start, folder / "models" / "activate", folder / "models" / "train")]


def test_frozen_weights_stay_and_others_change(models):
    weights = [each.network.state_dict() for each in models]
    learns = {name: value.requires_grad for name, value in models[0].network.named_parameters()}
    for before, after in pairwise(weights):
        assert before.keys() == after.keys()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert any("lora_" in name for name in changed) and all(learns.get(name, True) for name in changed)
    assert not all(learns.values())


def test_the_model_records_which_model_was_fine_tuned(folder, models):
    from mlflow import MlflowClient

    start, activated, trained = models
    version = activated.info["fine_tuned_from"]
    assert version.startswith(f"{toy.FINE_TUNED[folder.name]} sha256:") and trained.info["fine_tuned_from"] == version
    assert trained.info["stage"] == "train" and trained.info["run_id"] != start.info["run_id"]
    run = MlflowClient(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}").get_run(trained.info["run_id"])
    assert run.data.tags["fine_tuned_from"] == version
    assert f"Fine-tuned from {version}." in (folder / "models/train/README.md").read_text()


def test_the_model_records_the_images_of_both_trainings(models):
    start, _, trained = models
    assert start.seen and start.seen <= trained.seen
