"""The connection to MLflow: the database in the project's folder ``mlruns``, or the server MLFLOW_TRACKING_URI."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from vilam.errors import LONGEST, VilamError
from vilam.layout import Layout

EXPERIMENT = "vilam"
PATIENCE = 60
"""Seconds that a run waits while another one writes to the database."""


def runs_folder(root: Path) -> Path:
    """The folder that holds the database and the artifacts: ``<root>/mlruns``, or the one that VILAM_MLRUNS names."""
    return Path(os.environ.get("VILAM_MLRUNS") or Layout(root).runs).absolute()


def connect(root: Path) -> str:
    """Connect MLflow to the project's database or to the server MLFLOW_TRACKING_URI; returns the address."""
    for name, level in (("mlflow", logging.WARNING), ("alembic", logging.WARNING), ("mlflow.store", logging.CRITICAL)):
        logging.getLogger(name).setLevel(level)
    if server := os.environ.get("MLFLOW_TRACKING_URI"):
        os.environ.setdefault(
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3"
        )  # the default of 7 takes minutes if there is no server
        mlflow.set_tracking_uri(server)
        return server
    runs_folder(root).mkdir(parents=True, exist_ok=True)
    address = f"sqlite:///{runs_folder(root) / 'mlflow.db'}?timeout={PATIENCE}"
    mlflow.set_tracking_uri(address)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it, and the next call would take it for a server
    return address


def make_ready(root: Path) -> None:
    """Create the database and the experiment, if missing; of two runs that created them at once, one would fail."""
    folder = runs_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "create.lock"), mlflow_errors():
        connect(root)
        experiment_id(root)


def experiment_id(root: Path) -> str:
    """The id of the project's experiment, which is created if it is missing."""
    if (found := mlflow.get_experiment_by_name(EXPERIMENT)) is not None:
        return str(found.experiment_id)
    local = not os.environ.get("MLFLOW_TRACKING_URI")
    location = (runs_folder(root) / "artifacts").as_uri() if local else None
    try:
        return str(mlflow.create_experiment(EXPERIMENT, artifact_location=location))
    except MlflowException:  # another run has just created it
        if (found := mlflow.get_experiment_by_name(EXPERIMENT)) is None:
            raise
        return str(found.experiment_id)


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn what MLflow and its database raise into a VilamError of one line."""
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        first = _first_line(str(error))
        address = mlflow.get_tracking_uri().partition("?")[0]
        raise VilamError(f"MLflow at {address}: {first}: {_advice(first)}") from error


def _first_line(message: str) -> str:
    """The line with the database's own error, if there is one, else the first line."""
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
