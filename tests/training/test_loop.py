"""Whole runs: killed and gone on with, by one process and by two.

SLOW: one subprocess (runs.py) does all of them in a row, about half a minute.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from safetensors.torch import load_file

STEPS = 8


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Path:
    """The projects of runs.py, trained."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("whole", "killed"):
        project = toy.write_project(folder / name, train__steps=STEPS, activate__steps=2)
        (project / "mlruns").mkdir()
        shutil.copy(database, project / "mlruns" / "mlflow.db")
    for stage in (0, 2, 3):
        changes = {"activate__deepspeed": f"configs/deepspeed/zero{stage}.json"}
        toy.write_project(folder / f"zero{stage}", activate__batch_size=4, activate__steps=3, **changes)
    environment = {**os.environ, "PYTHONPATH": str(toy.PROJECT), "OMP_NUM_THREADS": "1"}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("runs.py")), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )
    said = "".join(f"{log}:\n{log.read_text()[-3000:]}" for log in sorted(folder.glob("*/log-*.txt")))
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{said}"
    return folder


def weights(project: Path, stage: str = "train") -> dict[str, torch.Tensor]:
    """The trained weights."""
    return load_file(project / "models" / stage / "model.safetensors")


def curve(project: Path, stage: str = "train") -> list[dict[str, str]]:
    with (project / "metrics" / "plots" / f"{stage}_loss.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def metrics(project: Path, stage: str = "train") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project / "metrics" / f"{stage}.json").read_text())
    return content


def test_training_changes_all_that_is_not_frozen(folder):
    before, after = weights(folder / "whole", "activate"), weights(folder / "whole")
    assert before.keys() == after.keys()
    unchanged = [name for name in before if torch.equal(before[name], after[name])]
    assert not unchanged and all(value.isfinite().all() for value in after.values())


def test_a_run_killed_twice_ends_with_the_same_weights_bit_for_bit(folder):
    whole, killed = weights(folder / "whole"), weights(folder / "killed")
    assert whole.keys() == killed.keys()
    assert not [name for name in whole if not torch.equal(whole[name], killed[name])]


def test_a_run_killed_twice_tells_the_same_curve(folder):
    assert curve(folder / "killed") == curve(folder / "whole")
    assert metrics(folder / "killed") == metrics(folder / "whole")
    assert metrics(folder / "whole")["steps"] == STEPS
    assert metrics(folder / "whole")["images"] == STEPS * toy.RUN["batch_size"]


def test_it_went_on_where_it_was_killed(folder):
    log = (folder / "killed" / "log-3.txt").read_text()
    left = (folder / "killed" / "left.txt").read_text()
    assert "step-000004/manifest.json" in left and "step-000006/manifest.json" not in left
    assert "train: 8/16 images" in log  # it began after step 4 of 8
    assert "step-000006: not finished: passed over" in log
    assert "train" not in (folder / "killed" / "models-then.txt").read_text().split()  # no half model
    assert not list(folder.glob("killed/checkpoints/train/*"))  # forgotten once done


def test_a_run_gone_on_with_is_one_run_of_mlflow(folder):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'killed' / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("vilam")
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"]
    trained = json.loads((folder / "killed" / "models" / "train" / "run.json").read_text())
    assert runs[0].info.run_id == trained["run_id"]
    assert runs[0].data.metrics["train/val_loss"] == pytest.approx(metrics(folder / "killed")["val_loss"])


@pytest.mark.parametrize("other", ["zero2", "zero3"])
def test_two_processes_end_within_rounding_of_one(folder, other):
    """Of the same images a step, whatever way the weights and the optimiser are spread."""
    one, two = weights(folder / "zero0", "activate"), weights(folder / other, "activate")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=1e-3)
    losses = [metrics(folder / name, "activate")["val_loss"] for name in ("zero0", other)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
