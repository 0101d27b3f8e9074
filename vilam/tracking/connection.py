"""The connection to MLflow: the database in the project's folder ``mlruns``, or the server MLFLOW_TRACKING_URI."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from vilam.errors import LONGEST, VilamError
from vilam.tracking.address import check_server, database, runs_folder, server, without_password
from vilam.tracking.rebase import ARTIFACTS, rebase

EXPERIMENT = "vilam"
PATIENCE = 60
"""Seconds that a run waits while another one writes to the database."""


def connect(root: Path) -> str:
    """Connect MLflow to the project's database or to the server MLFLOW_TRACKING_URI; returns the address.

    The database of a project that was moved or copied names its new place from then on. Raises VilamError if the server
    does not answer.
    """
    for name, level in (("mlflow", logging.WARNING), ("alembic", logging.WARNING), ("mlflow.store", logging.CRITICAL)):
        logging.getLogger(name).setLevel(level)
    if (address := server()) is not None:
        check_server(address)
        # the default of 7 takes minutes if the server goes away
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        mlflow.set_tracking_uri(address)
        return address
    runs_folder(root).mkdir(parents=True, exist_ok=True)
    address = f"sqlite:///{_in_address(database(root))}?timeout={PATIENCE}"
    mlflow.set_tracking_uri(address)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it, and the next call would take it for a server
    if database(root).is_file():
        rebase(database(root), EXPERIMENT, PATIENCE)
    return address


def _in_address(path: Path) -> str:
    """A path as SQLAlchemy reads it in an address, where % and ? have a meaning.

    MLflow creates the folder that it reads in the address without decoding it: a path that needs no code is preferred.
    """
    text = os.path.relpath(path) if {"%", "?"} & set(str(path)) else str(path)
    return text.replace("%", "%25").replace("?", "%3F")


def is_empty(root: Path) -> bool:
    """Whether the project has no database yet and no server is named: reading would create one."""
    return server() is None and not database(root).is_file()


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
    try:
        return str(mlflow.create_experiment(EXPERIMENT, artifact_location=_artifacts(root)))
    except MlflowException:  # another run has just created it
        if (found := mlflow.get_experiment_by_name(EXPERIMENT)) is None:
            raise
        return str(found.experiment_id)


def _artifacts(root: Path) -> str | None:
    """The address of the folder of the artifacts, which is created; None to leave it to the server."""
    if server() is not None:
        return None
    folder = runs_folder(root) / ARTIFACTS
    folder.mkdir(parents=True, exist_ok=True)
    return folder.as_uri()


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn what MLflow and its database raise into a VilamError of one line."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error) as error:
        first = _first_line(str(error))
        address = mlflow.get_tracking_uri().partition("?")[0]
        raise VilamError(without_password(f"MLflow at {address}: {first}: {_advice(first)}")) from error


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
    if "Invalid Host" in message:
        return "start the server with --allowed-hosts and this HOST:PORT (docs/team.md)"
    if "not found" in message:
        return "`vilam models` lists what is registered"
    if "not a database" in message or "malformed" in message:
        return "the file is broken: move it away and run again"
    return "see the message; nothing that was logged before is lost"
