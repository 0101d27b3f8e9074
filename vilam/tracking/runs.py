"""MLflow runs. One run is one trained model.

`train` opens it and keeps its id in ``models/train/run.json``; `evaluate` and `register` open it again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.entities import Run
from pydantic import BaseModel

from vilam.errors import VilamError
from vilam.tracking.connection import connect, experiment_id, mlflow_errors
from vilam.tracking.origin import ORIGIN_TAGS, origin_tags


class Tracker:
    """An open run: what is logged here stands in MLflow under ``run_id``."""

    def __init__(self, run_id: str, origin: Mapping[str, str]) -> None:
        """Made by `open_run`; ``origin``: the git commit and the data version that the run was started with."""
        self.run_id = run_id
        self.origin = dict(origin)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers; names are made fit for MLflow by `metric_name`."""
        with mlflow_errors():
            mlflow.log_metrics({metric_name(name): float(value) for name, value in metrics.items()}, step=step)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy one file into the run, into ``folder`` of it."""
        with mlflow_errors():
            mlflow.log_artifact(str(path), folder)

    def log_artifacts(self, folder: Path, name: str | None = None) -> None:
        """Copy what is in ``folder`` into the run, as the folder ``name`` of it."""
        with mlflow_errors():
            mlflow.log_artifacts(str(folder), name)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""
        with mlflow_errors():
            mlflow.set_tags(dict(tags))


@contextmanager
def open_run(
    root: Path,
    name: str,
    run_id: str | None = None,
    params: Mapping[str, object] | BaseModel | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[Tracker]:
    """Open a new run called ``name``, or go on with ``run_id`` where MLflow still knows it.

    params: nested settings, logged as ``train.steps`` and the like. The git commit and the data version are tagged.
    The environment's VILAM_RUN_NAME goes before ``name``, and VILAM_RUN_TAGS (a JSON object) before all tags.
    The run is marked failed where the body raises. Raises VilamError where the database or server cannot be used.
    """
    name = os.environ.get("VILAM_RUN_NAME") or name
    given = json.loads(os.environ.get("VILAM_RUN_TAGS") or "{}")
    with mlflow_errors():
        connect(root)
        known = _known_run(run_id)
        mlflow.start_run(
            run_id=known,
            experiment_id=experiment_id(root),
            run_name=None if known else name,
            tags=None if known else {**origin_tags(root), **(tags or {}), **given},
            log_system_metrics=True,
        )
        opened = _active()
    try:
        with mlflow_errors():
            _log_params(opened, flatten(params or {}))
            if known and tags:
                mlflow.set_tags(dict(tags))
        yield Tracker(opened.info.run_id, {k: v for k, v in opened.data.tags.items() if k.startswith(ORIGIN_TAGS)})
    except BaseException as error:
        try:
            _end("FAILED")
        except VilamError as second:  # the first one says why
            error.add_note(str(second))
        raise
    _end("FINISHED")


def metric_name(name: str) -> str:
    """A name that MLflow takes: letters, digits and ``_-. :/``; ``@`` becomes ``_``, ``+`` becomes ``_plus``."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("+", "_plus"), flags=re.ASCII)


def flatten(params: Mapping[str, object] | BaseModel, prefix: str = "") -> dict[str, str]:
    """Nested settings as one level of text: ``{"train": {"steps": 5}}`` is ``{"train.steps": "5"}``."""
    content = params.model_dump(by_alias=True) if isinstance(params, BaseModel) else params
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping | BaseModel):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[metric_name(f"{prefix}{key}")] = str(value)
    return flat


def _known_run(run_id: str | None) -> str | None:
    found = mlflow.search_runs(
        search_all_experiments=True, filter_string=f"attributes.run_id = '{run_id}'", output_format="list"
    )
    return run_id if run_id and found else None


def _active() -> Run:
    run = mlflow.active_run()
    assert run is not None
    return run


def _log_params(run: Run, params: Mapping[str, str]) -> None:
    """Log what the run lacks; MLflow keeps the first value of a parameter, so a later one becomes a tag."""
    logged = run.data.params
    mlflow.log_params({name: value for name, value in params.items() if name not in logged})
    mlflow.set_tags({f"later.{name}": value for name, value in params.items() if logged.get(name, value) != value})


def _end(status: str) -> None:
    with mlflow_errors():
        mlflow.end_run(status)
