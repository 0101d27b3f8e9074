"""An ablation whose stages are short shell commands: nothing is trained, all else is real."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from vilam.ablation.runner import log_file
from vilam.ablation.steps import Step

ARMS = {"none": {"train.cycle.mode": "none"}, "pseudo": {"train.cycle.mode": "pseudo"}}


def content(**changes: Any) -> dict[str, Any]:
    """What a plan's file says."""
    plan = {
        "name": "toy",
        "jobs": 2,
        "threads": 1,
        "seeds": [0, 1],
        "shares": [0.5],
        "settings": {"train.steps": 100, "evaluate.include_activate": False},
        "arms": ARMS,
        "time_arms": [],
        "time_shares": [0.5],
    }
    return plan | changes


@pytest.fixture
def write(tmp_path: Path, project: Path) -> Callable[..., Path]:
    """Writes the file of a plan in a project folder that has settings and nothing else."""
    shutil.copy(project / "params.yaml", tmp_path)
    (tmp_path / "configs").mkdir()

    def write_plan(**changes: Any) -> Path:
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(content(**changes), sort_keys=False), encoding="utf-8")
        return path

    return write_plan


def predictions(quality: float) -> pd.DataFrame:
    """Answers of a model to two questions on each of five images."""
    names = [f"{task}/{image}" for image in range(5) for task in ("rec_box", "reg_class")]
    rows = pd.DataFrame({"instruction_id": names, "task": [name.split("/")[0] for name in names]})
    rows["content_id"] = [name.split("/")[1] for name in names]
    rows["iou"] = quality + 0.05 * rows["content_id"].astype(int)
    return rows.assign(correct=quality, invalid=False, truth="circle")


class Fake:
    """Starts ``sh`` in place of a stage and notes what was started."""

    def __init__(self) -> None:
        self.started: list[Step] = []
        self.failing = ""
        self.script = "true"

    def __call__(self, step: Step) -> subprocess.Popen[bytes]:
        """Make what the stage would leave, or fail where ``failing`` is in its label and stage."""
        self.started.append(step)
        if self.failing and self.failing in f"{step.label}: {step.stage}":
            log_file(step).write_text("loading\n\nvilam: out of luck\n")
            return subprocess.Popen(["sh", "-c", "exit 1"])
        if step.stage == "train":
            (step.folder / "models" / "train").mkdir(exist_ok=True)
            (step.folder / "models" / "train" / "run.json").write_text('{"run_id": "abc"}')
        if step.stage == "evaluate":
            (step.folder / "predictions").mkdir(exist_ok=True)
            cycle = step.params["train"]["cycle"]["mode"]
            table = predictions({"none": 0.4, "pseudo": 0.6}[cycle])
            table.to_parquet(step.folder / "predictions" / "train.parquet")
        return subprocess.Popen(["sh", "-c", self.script], cwd=step.folder)

    @property
    def names(self) -> list[str]:
        """Of what was started, in order."""
        return [f"{step.label}: {step.stage}" for step in self.started]


@pytest.fixture
def fake() -> Fake:
    """The stages that are started."""
    return Fake()
