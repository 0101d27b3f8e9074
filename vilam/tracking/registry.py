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

from vilam.config import REGISTERED
from vilam.errors import VilamError
from vilam.tracking.connection import connect, mlflow_errors
from vilam.tracking.runs import SCORES, metric_name


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
    with mlflow_errors():
        connect(root)
        client = MlflowClient()
        found = [client.get_model_version(name, v.version) for v in client.search_model_versions(f"name='{name}'")]
        return sorted(map(_version, found), key=lambda version: version.number)


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
    with mlflow_errors():
        connect(root)
        client = MlflowClient()
        found = client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, number)
    return f"models:/{name}/{found.version}"


def download_model(uri: str, root: Path) -> Path:
    """The Hugging Face folder of a registered model (``models:/vilam@champion``); raises VilamError if unknown."""
    with mlflow_errors():
        connect(root)
        folder = Path(mlflow.artifacts.download_artifacts(uri))
    try:
        content = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        return folder / str(content["flavors"]["python_function"]["data"])
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise VilamError(f"{uri}: its artifacts in {folder} are damaged ({error!r}): name another version") from error


def download_artifact(source: str, path: str, root: Path) -> Path:
    """A file of a run: of the run with this id, or of the run that made a registered model.

    Raises VilamError if there is no such run, model or file.
    """
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
        aliases=tuple(found.aliases),
        metrics={metric.key.removeprefix(f"{SCORES}/"): metric.value for metric in metrics},
        tags=dict(found.tags),
        run_id=str(found.run_id),
        params=mlflow.get_run(found.run_id).data.params if found.run_id else {},
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, tz=UTC),
    )


def _model_id(version: ModelVersion) -> str:
    """The logged model that a version is of; the version's own model_id is empty."""
    return str(version.source).removeprefix("models:/")


def _log_metrics(metrics: Mapping[str, float], model_id: str) -> None:
    """They are metrics of the open run too: under the names that `evaluate` has given them there."""
    mlflow.log_metrics({f"{SCORES}/{metric_name(key)}": value for key, value in metrics.items()}, model_id=model_id)


def _signature() -> ModelSignature:
    """The columns of a served model (vilam/inference/serving.py): a question has a text or a box."""
    text = ColSpec("string", "text", required=False)
    box = ColSpec(AnyType(), "box", required=False)  # an array of doubles would refuse integers
    return ModelSignature(
        inputs=Schema([ColSpec("string", "task"), ColSpec("string", "image"), text, box]),
        outputs=Schema([ColSpec("string", "answer"), ColSpec("double", "confidence"), ColSpec("string", "details")]),
    )
