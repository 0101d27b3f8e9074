"""`train` on a toy project (see tests/runs.py), and its errors."""

from __future__ import annotations

import csv
import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toy
import yaml

from vilam.errors import VilamError
from vilam.models.build import LoadedModel, load_model, save_model
from vilam.stages import train


def outs(stage: str) -> list[str]:
    """The outputs of a stage in dvc.yaml."""
    found: dict[str, Any] = yaml.safe_load((toy.PROJECT / "dvc.yaml").read_text())["stages"][stage]
    listed = [*found.get("outs", []), *found.get("metrics", []), *found.get("plots", [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in listed]


WITHOUT_ROWS = ("synthesize_round_trip", "activate_loss", "train_loss")
"""Tables that have no rows in this project: it has no teacher, and fewer steps than from one loss to the next."""


@pytest.mark.parametrize("stage", ["prepare", "synthesize", "activate", "train", "evaluate", "register"])
def test_every_stage_writes_the_outputs_of_dvc_yaml(projects, stage):
    missing = [path for path in outs(stage) if not (projects / "whole" / path).exists()]
    assert not missing
    for path in outs(stage):
        if path.endswith(".json"):
            assert json.loads((projects / "whole" / path).read_text())
        elif path.endswith(".csv"):
            with (projects / "whole" / path).open(newline="") as file:
                header, *rows = csv.reader(file)
            assert header and (rows or Path(path).stem in WITHOUT_ROWS), path


def test_stages_write_no_other_files(projects):
    made = {path.name for path in (projects / "whole").iterdir() if not path.name.startswith("log-")}
    inputs = {"params.yaml", "configs", "mlruns"}
    assert made - inputs == {"data", "models", "metrics", "predictions", "reports", "checkpoints"}
    assert not [path for path in (projects / "whole").rglob("*partial*")]


def test_the_model_records_its_run_and_data(projects):
    trained = load_model(projects / "whole" / "models" / "train")
    assert trained.info["stage"] == "train" and trained.info["run_id"]
    assert trained.card.name == "scenes" and set(trained.card.splits) == set(toy.SPLITS)


def test_the_metrics_hold_loss_and_accuracy(projects):
    content = json.loads((projects / "whole" / "metrics" / "train.json").read_text())
    assert content["val_loss"] > 0 and 0 <= content["val_rec_acc"] <= 1


def test_a_missing_model_of_activate_is_reported(tmp_path):
    with pytest.raises(VilamError, match="no trained model here"):
        train.run(toy.settings(), toy.write_project(tmp_path))


def test_missing_data_is_reported_with_the_stage_to_run(tmp_path):
    save_model(LoadedModel(toy.model(), toy.tokenizer(), toy.card(), {}), tmp_path / "models" / "activate")
    with pytest.raises(VilamError, match="run prepare") as caught:
        train.run(toy.settings(), tmp_path)
    assert "\n" not in str(caught.value)


def test_the_run_id_is_kept_for_resuming(tmp_path: Path):
    from vilam.training.checkpoint import Checkpoints

    checkpoints = Checkpoints(tmp_path / "run")
    assert train._run_id(checkpoints) is None
    train._keep_run_id(checkpoints, "abc")
    assert train._run_id(checkpoints) == "abc"


def test_missing_instructions_are_reported_with_the_stage_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "vilam.tracking.runs.open_run", lambda *_: nullcontext(SimpleNamespace(run_id="a", log_metrics=print))
    )
    root = toy.write_project(tmp_path)
    save_model(LoadedModel(toy.model(), toy.tokenizer(), toy.card(), {}), root / "models" / "activate")
    shutil.rmtree(root / "data" / "instructions")
    with pytest.raises(VilamError, match="run synthesize"):
        train.run(toy.settings(), root)
