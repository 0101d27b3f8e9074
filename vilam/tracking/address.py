"""Where MLflow is: its folder in the project, or the server MLFLOW_TRACKING_URI; without importing mlflow."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from vilam.errors import VilamError
from vilam.layout import Layout

UI = "http://127.0.0.1:5000"
"""Where MLflow is shown if there is no server and MLFLOW_UI names nothing else."""
SERVER_SECONDS = 10
"""A server that does not answer within this time is down."""


def runs_folder(root: Path) -> Path:
    """The folder that holds the database and the artifacts: ``<root>/mlruns``, or the one that VILAM_MLRUNS names."""
    return Path(os.environ.get("VILAM_MLRUNS") or Layout(root).runs).absolute()


def database(root: Path) -> Path:
    """The project's own database of MLflow."""
    return runs_folder(root) / "mlflow.db"


def server() -> str | None:
    """The address in MLFLOW_TRACKING_URI, without a slash at the end; None if runs are tracked in the project."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").strip().rstrip("/") or None


def ui_address() -> str:
    """Where a browser shows MLflow: the server, or where MLFLOW_UI says that it is shown, or the port 5000."""
    found = server()
    return without_password(found) if found and found.startswith("http") else os.environ.get("MLFLOW_UI") or UI


def without_password(text: str) -> str:
    """A text whose addresses name no user and no password."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


@cache
def check_server(address: str) -> None:
    """Raises VilamError if no server answers at an http address; whatever it answers is left to MLflow."""
    if not address.startswith("http"):
        return
    shown = without_password(address)
    try:
        urlopen(f"{shown}/health", timeout=SERVER_SECONDS).close()
    except HTTPError:
        return
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise VilamError(
            f"MLflow at {shown}: does not answer ({reason}): "
            "start the server, or unset MLFLOW_TRACKING_URI to track in mlruns/"
        ) from None
