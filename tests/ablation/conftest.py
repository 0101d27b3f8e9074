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

from vilam.ablation.jobs import Job
from vilam.ablation.runner import log_file

ARMS = {"none": {"train.cycle.mode": "none"}, "pseudo": {"train.cycle.mode": "pseudo"}}


def content(**changes: Any) -> dict[str, Any]:
    """The content of a plan."""
    plan = {
        "name": "toy",
        "jobs": 2,
        "threads": 1,
        "seeds": [0, 1],
        "fractions": [0.5],
        "settings": {"train.steps": 100, "evaluate.include_activate": False},
        "arms": ARMS,
        "time_arms": [],
        "time_fractions": [0.5],
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
    rows = pd.DataFrame({"question_id": names, "task": [name.split("/")[0] for name in names]})
    rows["content_id"] = [name.split("/")[1] for name in names]
    rows["iou"] = quality + 0.05 * rows["content_id"].astype(int)
    return rows.assign(correct=quality, invalid=False, truth="circle")


class Fake:
    """Starts ``sh`` in place of a stage and notes what was started."""

    def __init__(self) -> None:
        self.started: list[Job] = []
        self.failing = ""
        self.script = "true"

    def __call__(self, job: Job) -> subprocess.Popen[bytes]:
        """Make what the stage would leave, or fail where ``failing`` is in its label and stage."""
        self.started.append(job)
        if self.failing and self.failing in f"{job.label}: {job.stage}":
            log_file(job).write_text("loading\n\nvilam: out of luck\n")
            return subprocess.Popen(["sh", "-c", "exit 1"])
        if job.stage == "train":
            (job.folder / "models" / "train").mkdir(exist_ok=True)
            (job.folder / "models" / "train" / "run.json").write_text('{"run_id": "abc"}')
        if job.stage == "evaluate":
            (job.folder / "predictions").mkdir(exist_ok=True)
            cycle = job.params["train"]["cycle"]["mode"]
            table = predictions({"none": 0.4, "pseudo": 0.6}[cycle])
            table.to_parquet(job.folder / "predictions" / "train.parquet")
        return subprocess.Popen(["sh", "-c", self.script], cwd=job.folder)

    @property
    def names(self) -> list[str]:
        """The jobs that were started, in order."""
        return [f"{job.label}: {job.stage}" for job in self.started]


@pytest.fixture
def fake() -> Fake:
    """The jobs that are started."""
    return Fake()
