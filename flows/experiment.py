"""The Prefect task that runs the whole pipeline once with other settings, as a DVC experiment.

It works in a copy of the workspace, so that neither params.yaml nor the models of the workspace change; its runs and
models go to the project's own MLflow. ``dvc exp show`` lists it, ``dvc exp apply`` copies it into the workspace.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from flows.artifacts import show_gallery, show_metrics, show_report, show_run
from flows.dvc import run_dvc
from flows.overrides import assignments
from flows.progress import Progress


@task(task_run_name="experiment {name}", cache_policy=NO_CACHE)
def run_experiment(name: str, overrides: Mapping[str, Any], stages: list[str], root: Path, progress: Progress) -> None:
    """Run ``dvc exp run -S …`` under ``name``; raises VilamError if the overrides do not fit or a stage fails."""
    words = ["exp", "run", "--temp", "--name", name, *(f"-S={assigned}" for assigned in assignments(overrides))]
    with progress:
        run_dvc(words, root, get_run_logger().info, progress.read)
    for stage in stages:
        if metrics := _metrics(name, stage, root):
            show_metrics(stage, metrics)
    if run_id := _metrics(name, "register", root).get("run_id"):
        show_run(run_id)
        show_report(run_id)
    with TemporaryDirectory() as folder:
        gallery = Path(folder) / "gallery"
        words = ["get", ".", "reports/gallery", "--rev", name, "--out", str(gallery)]
        run_dvc(words, root, get_run_logger().debug)
        show_gallery(gallery)


def _metrics(name: str, stage: str, root: Path) -> dict[str, Any]:
    """The metrics of a stage of the experiment; empty if it wrote none."""
    listed = _git(root, "for-each-ref", "--format=%(refname)", "refs/exps").split()
    reference = next((found for found in listed if found.endswith(f"/{name}")), "")
    text = _git(root, "show", f"{reference}:metrics/{stage}.json") if reference else ""
    metrics: dict[str, Any] = json.loads(text or "{}")
    return metrics


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True).stdout
