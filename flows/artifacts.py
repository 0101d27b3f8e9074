"""Artifacts of a finished stage in the Prefect UI: its metrics, its MLflow run, the report and its gallery."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from vilam.layout import Layout
from vilam.tracking.address import ui_address

WORST = "*_worst_0[12].jpg"
"""Images of the gallery that are shown: the two worst answers of each task."""


def show_stage(stage: str, root: Path) -> None:
    """Create the artifacts of one stage from the files that it wrote."""
    layout = Layout(root)
    path = layout.metrics(stage)
    metrics = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if metrics:
        show_metrics(stage, metrics)
    if stage == "train" and (run_id := _run_id(root)):
        show_run(run_id)
    if stage == "evaluate" and (run_id := _run_id(root)):
        if "other" not in metrics:  # evaluate.model has a run of its own
            show_report(run_id)
        show_gallery(layout.reports / "gallery")


def show_metrics(stage: str, metrics: Mapping[str, Any]) -> None:
    """The metrics as a table."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in _rows(metrics))
    create_markdown_artifact(
        key=f"metrics-{stage}",
        markdown=f"## {stage}\n\n| metric | value |\n|---|---|\n{rows}\n",
        description=f"metrics/{stage}.json",
    )


def show_run(run_id: str) -> None:
    """A link to the run in MLflow."""
    create_link_artifact(key="mlflow-run", link=f"{ui_address()}/#/runs/{run_id}", link_text=f"MLflow run {run_id}")


def show_report(run_id: str) -> None:
    """A link to the report in MLflow, since a browser does not open local files from a server's page."""
    link = f"{ui_address()}/get-artifact?path=report/index.html&run_uuid={run_id}"
    create_link_artifact(key="report", link=link, link_text="report with gallery: a single page")


def show_gallery(folder: Path) -> None:
    """The drawings of the worst answers of each task."""
    drawings = sorted(folder.glob(WORST))
    markdown = "\n\n".join(f"### {drawing.stem}\n\n![{drawing.stem}]({_inline(drawing)})" for drawing in drawings)
    if markdown:
        create_markdown_artifact(key="gallery", markdown=markdown, description="the worst answers of each task")


def _run_id(root: Path) -> str | None:
    """The MLflow run of the trained model of the workspace."""
    path = Layout(root).model("train") / "run.json"
    run_id: str | None = json.loads(path.read_text(encoding="utf-8")).get("run_id") if path.is_file() else None
    return run_id


def _rows(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{name}: ")
        else:
            yield _cell(prefix + name), f"{value:.4g}" if isinstance(value, float) else _cell(str(value))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _inline(image: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(image.read_bytes()).decode()}"
