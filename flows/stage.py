"""The Prefect task that runs one stage of dvc.yaml, streams its log and shows its progress and its results."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from flows.artifacts import show_stage
from flows.dvc import run_dvc
from flows.progress import Progress


@task(task_run_name="{stage}", retries=1, retry_delay_seconds=5, cache_policy=NO_CACHE)
def run_stage(stage: str, root: Path, progress: Progress) -> None:
    """Run one stage if anything that it depends on has changed; raises VilamError with the last lines of its log."""
    with progress:
        run_dvc(["repro", "--single-item", stage], root, get_run_logger().info, progress.read)
    show_stage(stage, root)
