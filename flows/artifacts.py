"""What a person finds in the Prefect UI after a stage: its metrics, its MLflow run, the report and its gallery."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact

MLFLOW_UI = "http://127.0.0.1:5000"
"""Where `make ui` serves MLflow, unless MLFLOW_TRACKING_URI names a server."""
PICTURES = 6
"""Pictures of the gallery that are shown, the first ones: the worst answers."""


def show_stage(stage: str, root: Path) -> None:
    """Make the artifacts of one stage from the files that it has left."""
    metrics = root / "metrics" / f"{stage}.json"
    if metrics.is_file():
        show_metrics(stage, json.loads(metrics.read_text(encoding="utf-8")))
    run = root / "models" / stage / "run.json"
    if run.is_file() and (run_id := json.loads(run.read_text(encoding="utf-8")).get("run_id")):
        show_run(run_id)
    if stage == "evaluate" and (root / "reports" / "index.html").is_file():
        show_report(root / "reports")


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
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    address = server.rstrip("/") if server.startswith("http") else os.environ.get("MLFLOW_UI", MLFLOW_UI)
    create_link_artifact(key="mlflow-run", link=f"{address}/#/runs/{run_id}", link_text=f"MLflow run {run_id}")


def show_report(reports: Path) -> None:
    """A link to the report, and the first pictures of its gallery."""
    page = (reports / "index.html").absolute().as_uri()
    create_link_artifact(key="report", link=page, link_text="report with gallery")
    pictures = sorted((reports / "gallery").glob("*.png"))[:PICTURES]
    shown = "\n\n".join(f"### {picture.stem}\n\n![{picture.stem}]({_inline(picture)})" for picture in pictures)
    if shown:
        create_markdown_artifact(key="gallery", markdown=shown, description="the worst answers first")


def _rows(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{name}: ")
        else:
            yield _cell(prefix + name), f"{value:.4g}" if isinstance(value, float) else _cell(str(value))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _inline(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
