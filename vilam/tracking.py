"""MLflow: runs and the model registry. The only file that imports it.

One MLflow run is one trained model: `train` opens it and keeps its id in ``models/train/run.json``; `evaluate` and
`register` open it again. Everything stays in ``<root>/mlruns`` unless MLFLOW_TRACKING_URI names a server.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import mlflow
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import AnyType, ColSpec, Schema
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from vilam import serving
from vilam.config import REGISTERED
from vilam.errors import VilamError

EXPERIMENT = "vilam"
VERSIONED = ("data/records", "data/instructions")
"""The folders whose DVC hashes are the data version of a run."""
PATIENCE = 60
"""Seconds that a run waits while another one writes to the database."""
LONGEST = 200
"""Characters that an error of MLflow or its database is cut to."""
ORIGIN = ("git_commit", "data_version.")
"""How the tags begin that tell what a run was made from."""


class Tracker:
    """An open run: what is logged here stands in MLflow under ``run_id``."""

    def __init__(self, run_id: str, origin: Mapping[str, str]) -> None:
        """Made by `open_run`; ``origin``: the git commit and the data version that the run was started with."""
        self.run_id = run_id
        self.origin = dict(origin)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers; names are made fit for MLflow by `metric_name`."""
        with _told():
            mlflow.log_metrics({metric_name(name): float(value) for name, value in metrics.items()}, step=step)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy one file into the run, into ``folder`` of it."""
        with _told():
            mlflow.log_artifact(str(path), folder)

    def log_artifacts(self, folder: Path, name: str | None = None) -> None:
        """Copy what is in ``folder`` into the run, as the folder ``name`` of it."""
        with _told():
            mlflow.log_artifacts(str(folder), name)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""
        with _told():
            mlflow.set_tags(dict(tags))


@dataclass(frozen=True, slots=True)
class Version:
    """A registered model: the metrics it was registered with, its tags, its run and the run's parameters, UTC time."""

    number: int
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    tags: dict[str, str]
    run_id: str
    params: dict[str, str]
    created: datetime


def runs_folder(root: Path) -> Path:
    """The folder that holds the database and the artifacts: ``<root>/mlruns``, or the one that VILAM_MLRUNS names."""
    return Path(os.environ.get("VILAM_MLRUNS") or root / "mlruns").absolute()


def connect(root: Path) -> str:
    """Point MLflow at the project's database, or at the server of MLFLOW_TRACKING_URI; returns the address."""
    for name, level in (("mlflow", logging.WARNING), ("alembic", logging.WARNING), ("mlflow.store", logging.CRITICAL)):
        logging.getLogger(name).setLevel(level)
    if server := os.environ.get("MLFLOW_TRACKING_URI"):
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # its own 7 take minutes where no server is
        mlflow.set_tracking_uri(server)
        return server
    runs_folder(root).mkdir(parents=True, exist_ok=True)
    address = f"sqlite:///{runs_folder(root) / 'mlflow.db'}?timeout={PATIENCE}"
    mlflow.set_tracking_uri(address)
    os.environ.pop(
        "MLFLOW_TRACKING_URI", None
    )  # MLflow writes it there, where the next call would take it for a server
    return address


def make_ready(root: Path) -> None:
    """Make the database and the experiment where they are not there yet: of two runs that begin at once, one fails."""
    with _told():
        connect(root)
        _experiment(root)


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
    with _told():
        connect(root)
        known = _known_run(run_id)
        mlflow.start_run(
            run_id=known,
            experiment_id=_experiment(root),
            run_name=None if known else name,
            tags=None if known else {**_origin(root), **(tags or {}), **given},
            log_system_metrics=True,
        )
        opened = _active()
    try:
        with _told():
            _log_params(opened, flatten(params or {}))
            if known and tags:
                mlflow.set_tags(dict(tags))
        yield Tracker(opened.info.run_id, {k: v for k, v in opened.data.tags.items() if k.startswith(ORIGIN)})
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


def data_version(root: Path) -> dict[str, str]:
    """The DVC hashes of the data in ``dvc.lock`` by folder; empty where there is none yet."""
    try:
        content = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    outs = [out for stage in content["stages"].values() for out in stage.get("outs", [])]
    return {out["path"]: str(out["md5"]) for out in outs if out["path"] in VERSIONED and "md5" in out}


def git_commit(root: Path) -> str:
    """The commit of the project folder, with ``-dirty`` where code or settings differ; "unknown" outside of git."""
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


def _origin(root: Path) -> dict[str, str]:
    versions = {f"data_version.{Path(path).name}": md5 for path, md5 in data_version(root).items()}
    return {"git_commit": git_commit(root), **versions}


def _experiment(root: Path) -> str:
    if (found := mlflow.get_experiment_by_name(EXPERIMENT)) is not None:
        return str(found.experiment_id)
    local = not os.environ.get("MLFLOW_TRACKING_URI")
    location = (runs_folder(root) / "artifacts").as_uri() if local else None
    try:
        return str(mlflow.create_experiment(EXPERIMENT, artifact_location=location))
    except MlflowException:  # another run that began at once has made it
        if (found := mlflow.get_experiment_by_name(EXPERIMENT)) is None:
            raise
        return str(found.experiment_id)


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
    with _told():
        mlflow.end_run(status)


@contextmanager
def _told() -> Iterator[None]:
    """Word what MLflow and its database raise as one line."""
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        first = _first_line(str(error))
        place = mlflow.get_tracking_uri().partition("?")[0]
        raise VilamError(f"MLflow at {place}: {first}: {_advice(first)}") from error


def _first_line(message: str) -> str:
    """What the database says, where it is the database that says it."""
    lines = message.splitlines()
    return next((line for line in lines if line.startswith("(sqlite3.")), lines[0])[:LONGEST]


def _advice(message: str) -> str:
    if "full" in message or "No space" in message:
        return "free some space, then run again"
    if "locked" in message:
        return "another program is writing to it; end that or wait, then run again"
    if "Max retries" in message or "failed with exception" in message:
        return "start the server, or unset MLFLOW_TRACKING_URI to track in mlruns/"
    if "not found" in message:
        return "`vilam models` lists what is registered"
    if "not a database" in message or "malformed" in message:
        return "the file is broken: move it away and run again"
    return "see the message; nothing that was logged before is lost"


def log_model(folder: Path, metrics: Mapping[str, float], name: str, tags: Mapping[str, str]) -> Version:
    """Log a model folder with its metrics into the open run and register it as the next version of ``name``.

    The pyfunc carries vilam's code beside the weights (see `vilam.serving`), so that a server needs nothing else.
    """
    with _told():
        logged = mlflow.pyfunc.log_model(
            name="model",
            loader_module=serving.__name__,
            data_path=str(folder),
            code_paths=[str(Path(serving.__file__).parent)],
            signature=_signature(),
            input_example=serving.input_example(),
            pip_requirements=serving.requirements(),
        )
        mlflow.log_metrics({metric_name(key): value for key, value in metrics.items()}, model_id=logged.model_id)
        with redirect_stderr(StringIO()):  # MLflow tells there what `register` tells in its own words
            made = mlflow.register_model(logged.model_uri, name, tags=dict(tags))
        return _version(MlflowClient().get_model_version(name, made.version))


def versions(root: Path, name: str) -> list[Version]:
    """All registered versions of ``name``, oldest first; empty where there is none."""
    with _told():
        connect(root)
        client = MlflowClient()
        found = [client.get_model_version(name, v.version) for v in client.search_model_versions(f"name='{name}'")]
        return sorted(map(_version, found), key=lambda version: version.number)


def set_alias(root: Path, name: str, alias: str, number: int) -> None:
    """Let ``alias`` (challenger, champion) name version ``number`` from now on."""
    with _told():
        connect(root)
        MlflowClient().set_registered_model_alias(name, alias, str(number))


def pinned(uri: str, root: Path) -> str:
    """The address by version number of a registered model (``models:/vilam@champion`` is ``models:/vilam/3`` now).

    Raises VilamError where the registry has no such model, alias or version.
    """
    matched = REGISTERED.fullmatch(uri)
    if matched is None:
        raise VilamError(f"{uri}: no address of the registry: expected models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias, number = matched.groups()
    with _told():
        connect(root)
        client = MlflowClient()
        found = client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, number)
    return f"models:/{name}/{found.version}"


def download_model(uri: str, root: Path) -> Path:
    """The Hugging Face folder of a registered model (``models:/vilam@champion``); raises VilamError where unknown."""
    with _told():
        connect(root)
        folder = Path(mlflow.artifacts.download_artifacts(uri))
    try:
        content = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        return folder / str(content["flavors"]["python_function"]["data"])
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise VilamError(f"{uri}: its artifacts in {folder} are damaged ({error!r}): name another version") from error


def download_artifact(source: str, path: str, root: Path) -> Path:
    """A file that a run wrote: of the run of this id, or of the one that a registered model comes from.

    Raises VilamError where there is no such run, model or file.
    """
    with _told():
        connect(root)
        run_id = source
        if source.startswith("models:/"):
            name, number = pinned(source, root).removeprefix("models:/").split("/")
            run_id = str(MlflowClient().get_model_version(name, number).run_id)
        MlflowClient().get_run(run_id)
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path))


def _version(found: ModelVersion) -> Version:
    model_id = str(found.source).removeprefix("models:/")  # the version's own model_id comes back empty
    metrics = mlflow.get_logged_model(model_id).metrics or []
    return Version(
        number=int(found.version),
        aliases=tuple(found.aliases),
        metrics={metric.key: metric.value for metric in metrics},
        tags=dict(found.tags),
        run_id=str(found.run_id),
        params=mlflow.get_run(found.run_id).data.params if found.run_id else {},
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, tz=UTC),
    )


def _signature() -> ModelSignature:
    """The columns of `vilam.serving`: a question has a text or a box."""
    text = ColSpec("string", "text", required=False)
    box = ColSpec(AnyType(), "box", required=False)  # an array of doubles would refuse whole numbers
    return ModelSignature(
        inputs=Schema([ColSpec("string", "task"), ColSpec("string", "image"), text, box]),
        outputs=Schema([ColSpec("string", "answer"), ColSpec("double", "confidence"), ColSpec("string", "details")]),
    )
