"""The MLflow model registry: versions of a model, their metrics and aliases."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import mlflow
import pandas as pd
import yaml
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import ModelSignature
from mlflow.types.schema import AnyType, ColSpec, Schema

from vilam.errors import VilamError
from vilam.files import read_json
from vilam.layout import REGISTERED, Layout
from vilam.tracking.address import server, without_password
from vilam.tracking.connection import connect, is_empty, mlflow_errors
from vilam.tracking.lookup import data_folder
from vilam.tracking.runs import SCORES, metric_name

IMPORTED_FROM = "imported_from"
"""The tag of an imported version: the id of the logged model that was exported."""
REGISTERED_AT = "registered_at"
"""The tag of an imported version: when it was registered first, in ISO format."""


@dataclass(frozen=True, slots=True)
class Version:
    """A registered model: the metrics it was registered with, its tags, its run and the run's parameters, UTC time.

    origin: the id of the logged model; of an imported version the id that it had where it was registered first.
    """

    number: int
    origin: str
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    tags: dict[str, str]
    run_id: str
    params: dict[str, str]
    created: datetime


@dataclass(frozen=True, slots=True)
class Serving:
    """How MLflow serves a model: the module that loads it, the code that is copied with it, and its requirements.

    input_example: a table with one question. requirements: pinned packages.
    """

    loader_module: str
    code: Path
    input_example: pd.DataFrame
    requirements: list[str]


def log_model(
    folder: Path, metrics: Mapping[str, float], name: str, tags: Mapping[str, str], serving: Serving
) -> Version:
    """Log a model folder with its metrics into the open run and register it as the next version of ``name``."""
    with mlflow_errors():
        logged = mlflow.pyfunc.log_model(
            name="model",
            loader_module=serving.loader_module,
            data_path=str(folder),
            code_paths=[str(serving.code)],
            signature=_signature(),
            input_example=serving.input_example,
            pip_requirements=serving.requirements,
        )
        _log_metrics(metrics, logged.model_id)
        with redirect_stderr(StringIO()):  # MLflow prints there what `register` prints itself
            made = mlflow.register_model(logged.model_uri, name, tags=dict(tags))
        return _version(MlflowClient().get_model_version(name, made.version))


def update_version(name: str, number: int, metrics: Mapping[str, float], tags: Mapping[str, str]) -> Version:
    """Give a registered version the metrics and tags of a later evaluation."""
    with mlflow_errors():
        client = MlflowClient()
        found = client.get_model_version(name, str(number))
        _log_metrics(metrics, _model_id(found))
        for key, value in tags.items():
            client.set_model_version_tag(name, str(number), key, value)
        return _version(client.get_model_version(name, str(number)))


def versions(root: Path, name: str) -> list[Version]:
    """All registered versions of ``name``, oldest first; empty if there is none."""
    if is_empty(root):
        return []
    with mlflow_errors():
        connect(root)
        client = MlflowClient()
        found = [client.get_model_version(name, v.version) for v in client.search_model_versions(f"name='{name}'")]
        return sorted(map(_version, found), key=lambda version: version.number)


def nothing_registered(root: Path, name: str) -> str:
    """One line for a registry without ``name``: whether to import what others registered, or to register."""
    layout, address = Layout(root), server()
    if address is not None:
        advice = "run `vilam register`" if layout.metrics("evaluate").is_file() else "run `dvc repro` first"
        return f"no version of {name} is registered at {without_password(address)}: {advice}"
    if (registry := layout.registered / "registry.json").is_file():
        if address := read_json(registry, "register").get("server"):
            advice = f"the versions are at {address}: export MLFLOW_TRACKING_URI={address}"
        else:
            advice = "`vilam models --import` takes over those in models/registered"
    elif is_shared(root):
        advice = "run `dvc pull`, then `vilam models --import`"
    else:
        advice = "run `dvc repro` first"
    return f"no version of {name} is registered here: {advice}"


def is_shared(root: Path) -> bool:
    """Whether dvc.lock names exported versions, which `dvc pull` brings."""
    lock = Layout(root).lock
    return lock.is_file() and "path: models/registered\n" in lock.read_text(encoding="utf-8")


def set_alias(root: Path, name: str, alias: str, number: int) -> None:
    """Move ``alias`` (challenger, champion) to version ``number``."""
    with mlflow_errors():
        connect(root)
        MlflowClient().set_registered_model_alias(name, alias, str(number))


def pinned(uri: str, root: Path) -> str:
    """The address by version number of a registered model (``models:/vilam@champion`` is ``models:/vilam/3`` now).

    Raises VilamError if the registry has no such model, alias or version.
    """
    matched = REGISTERED.fullmatch(uri)
    if matched is None:
        raise VilamError(f"{uri}: no address of the registry: expected models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias, number = matched.groups()
    if is_empty(root):
        raise VilamError(nothing_registered(root, name))
    with mlflow_errors():
        connect(root)
        client = MlflowClient()
        if not client.search_registered_models(max_results=1):
            raise VilamError(nothing_registered(root, name))
        found = client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, number)
    return f"models:/{name}/{found.version}"


def download_model(uri: str, root: Path) -> Path:
    """The Hugging Face folder of a registered model (``models:/vilam@champion``); raises VilamError if unknown."""
    address = pinned(uri, root)
    with mlflow_errors():
        folder = Path(mlflow.artifacts.download_artifacts(address))
    try:
        return data_folder(folder)
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise VilamError(f"{uri}: its artifacts in {folder} are damaged ({error!r}): name another version") from error


def download_artifact(source: str, path: str, root: Path) -> Path:
    """A file of a run: of the run with this id, or of the run that made a registered model.

    Raises VilamError if there is no such run, model or file.
    """
    if is_empty(root):
        raise VilamError(f"{source}: no run is logged here yet: run `dvc repro` first")
    with mlflow_errors():
        connect(root)
        run_id = source
        if source.startswith("models:/"):
            name, number = pinned(source, root).removeprefix("models:/").split("/")
            run_id = str(MlflowClient().get_model_version(name, number).run_id)
        MlflowClient().get_run(run_id)
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path))


def _version(found: ModelVersion) -> Version:
    metrics = mlflow.get_logged_model(_model_id(found)).metrics or []
    return Version(
        number=int(found.version),
        origin=found.tags.get(IMPORTED_FROM, _model_id(found)),
        aliases=tuple(found.aliases),
        metrics={metric.key.removeprefix(f"{SCORES}/"): metric.value for metric in metrics},
        tags=dict(found.tags),
        run_id=str(found.run_id),
        params=mlflow.get_run(found.run_id).data.params if found.run_id else {},
        created=_created(found),
    )


def _created(version: ModelVersion) -> datetime:
    if (first := version.tags.get(REGISTERED_AT)) is not None:
        return datetime.fromisoformat(first)
    return datetime.fromtimestamp(version.creation_timestamp / 1000, tz=UTC)


def _model_id(version: ModelVersion) -> str:
    """The logged model that a version is of; the version's own model_id is empty."""
    return str(version.source).removeprefix("models:/")


def _log_metrics(metrics: Mapping[str, float], model_id: str) -> None:
    """They are metrics of the open run too: under the names that `evaluate` has given them there."""
    mlflow.log_metrics({f"{SCORES}/{metric_name(key)}": value for key, value in metrics.items()}, model_id=model_id)


def _signature() -> ModelSignature:
    """The columns of a served model (vilam/inference/serving.py), which says itself what is wrong with a row.

    Without a column that it requires, MLflow would answer a table of other columns with an empty one.
    """
    optional = [ColSpec(AnyType(), name, required=False) for name in ("image", "text", "box")]
    columns = [ColSpec(AnyType(), "task"), *optional]
    types = {"answer": "string", "confidence": "double", "details": "string", "error": "string"}
    answers = [ColSpec(kind, name, required=False) for name, kind in types.items()]
    return ModelSignature(inputs=Schema(columns), outputs=Schema(answers))
