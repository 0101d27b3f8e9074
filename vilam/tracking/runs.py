"""MLflow runs, one for each trained model, with the git commit and the DVC hashes of the data as tags.

`train` opens a run and keeps its id in ``models/train/run.json``; `evaluate` and `register` open it again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import mlflow
import yaml
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
from pydantic import BaseModel

from vilam.errors import VilamError
from vilam.layout import Layout
from vilam.tracking.connection import experiment_id, make_ready, mlflow_errors

INSIDE = Layout(Path())
VERSIONED = (INSIDE.records.as_posix(), INSIDE.instructions.as_posix())
"""The folders whose DVC hashes are the data version of a run."""
IMPORTED_RUN = "imported_run"
"""The tag of an imported run: the id that it had where it was exported."""
EXPERIMENT_TAG = "dvc_experiment"
"""The tag of a run with the name of the DVC experiment that made it."""
ORIGIN_TAGS = ("git_commit", "data_version.", EXPERIMENT_TAG)
"""Prefixes of the tags that `origin_tags` makes."""


SCORES = "scores"
"""The first part of the names of the metrics of `evaluate` in MLflow, but of those that stand for a whole task."""


class Tracker:
    """An open run of MLflow with the id ``run_id``."""

    def __init__(self, run_id: str, origin: Mapping[str, str]) -> None:
        """Made by `open_run`; ``origin``: the git commit and the data version when the run was started."""
        self.run_id = run_id
        self.origin = dict(origin)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers; `metric_name` makes their names valid in MLflow."""
        with mlflow_errors():
            mlflow.log_metrics({metric_name(name): float(value) for name, value in metrics.items()}, step=step)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file into ``folder`` of the run."""
        with mlflow_errors():
            mlflow.log_artifact(str(path), folder)

    def log_artifacts(self, folder: Path, name: str | None = None) -> None:
        """Copy the content of ``folder`` into the folder ``name`` of the run."""
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
    """Open a new run called ``name``, or the run ``run_id`` again if MLflow still knows it.

    params: nested settings, logged as ``train.steps`` etc. A new run is tagged with the git commit and the data
    version, and in a DVC experiment with that one's name, with which the run's name then begins. The environment
    variable VILAM_RUN_NAME replaces ``name``, and VILAM_RUN_TAGS (a JSON object) adds tags or replaces them. The run is
    marked as failed if the body raises, and as killed if the body is interrupted. Raises VilamError if the database or
    server cannot be used.
    """
    name = os.environ.get("VILAM_RUN_NAME") or named_run(name)
    extra_tags = json.loads(os.environ.get("VILAM_RUN_TAGS") or "{}")
    with mlflow_errors():
        make_ready(root)
        known = known_run(run_id)
        mlflow.start_run(
            run_id=known,
            experiment_id=experiment_id(root),
            run_name=None if known else name,
            tags=None if known else {**origin_tags(root), **(tags or {}), **extra_tags},
        )
        opened = _active()
    try:
        with mlflow_errors():
            _log_params(opened, flatten(params or {}))
            if known and tags is not None:  # a training that goes on, maybe as another experiment
                mlflow.set_tags({**tags, **experiment_tag(), MLFLOW_RUN_NAME: name})
        yield Tracker(opened.info.run_id, {k: v for k, v in opened.data.tags.items() if k.startswith(ORIGIN_TAGS)})
    except BaseException as error:
        try:
            _end("FAILED" if isinstance(error, Exception) else "KILLED")
        except VilamError as second:  # report the first error, which is the cause
            error.add_note(str(second))
        raise
    _end("FINISHED")


def metric_name(name: str) -> str:
    """A valid name for MLflow: letters, digits and ``_-. :/``; ``@`` becomes ``_``, ``+`` becomes ``_plus``."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("+", "_plus"), flags=re.ASCII)


def flatten(params: Mapping[str, object] | BaseModel, prefix: str = "") -> dict[str, str]:
    """Nested settings as one level of texts: ``{"train": {"steps": 5}}`` is ``{"train.steps": "5"}``."""
    content = params.model_dump(by_alias=True) if isinstance(params, BaseModel) else params
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping | BaseModel):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[metric_name(f"{prefix}{key}")] = str(value)
    return flat


def known_run(run_id: str | None) -> str | None:
    """The id of the run with this id, or of the one that was imported from it; None if MLflow knows neither."""
    for name in ("attributes.run_id", f"tags.{IMPORTED_RUN}"):
        wanted = f"{name} = '{run_id}'"
        found = mlflow.search_runs(search_all_experiments=True, filter_string=wanted, output_format="list")
        if run_id and found:
            return str(found[0].info.run_id)
    return None


def _active() -> Run:
    run = mlflow.active_run()
    assert run is not None
    return run


def _log_params(run: Run, params: Mapping[str, str]) -> None:
    """Log new parameters; MLflow keeps the first value of a parameter, so a different later one becomes a tag."""
    logged = run.data.params
    mlflow.log_params({name: value for name, value in params.items() if name not in logged})
    mlflow.set_tags({f"later.{name}": value for name, value in params.items() if logged.get(name, value) != value})


def _end(status: str) -> None:
    with mlflow_errors():
        mlflow.end_run(status)


def origin_tags(root: Path) -> dict[str, str]:
    """The git commit, the data version and the DVC experiment, if there is one, as tags of a run."""
    versions = {f"data_version.{Path(path).name}": md5 for path, md5 in data_version(root).items()}
    return {"git_commit": git_commit(root), **versions, **experiment_tag()}


def experiment_tag() -> dict[str, str]:
    """The name of the DVC experiment that runs this stage, as a tag; empty in any other run."""
    name = os.environ.get("DVC_EXP_NAME")
    return {EXPERIMENT_TAG: name} if name else {}


def named_run(name: str) -> str:
    """The name of a run, after that of its DVC experiment if it has one."""
    return ": ".join([*experiment_tag().values(), name])


def data_version(root: Path) -> dict[str, str]:
    """The DVC hashes of the data in ``dvc.lock`` by folder; empty if there is no such file yet."""
    try:
        content = yaml.safe_load(Layout(root).lock.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    outs = [out for stage in content["stages"].values() for out in stage.get("outs", [])]
    return {out["path"]: str(out["md5"]) for out in outs if out["path"] in VERSIONED and "md5" in out}


def git_commit(root: Path) -> str:
    """The commit of the project folder, with ``-dirty`` if code or settings differ; "unknown" outside of git."""
    if not (commit := _git(root, "rev-parse", "HEAD")):
        return "unknown"
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock", ":!metrics")
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
