"""Finds a registered model in the project's own database, without importing MLflow: it takes longer than an answer.

Whatever is not as expected here (a server, another place, a damaged database, no such version) is left to MLflow.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import yaml

from vilam.layout import REGISTERED
from vilam.tracking.address import database, runs_folder, server

ALIAS = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
STORED = "SELECT storage_location FROM model_versions WHERE name = ? AND version = ? AND current_stage = 'None'"
"""Of the tables of MLflow 3.17. By MLflow: `pinned` and `download_model` in vilam/tracking/registry.py."""


def find_registered(uri: str, root: Path) -> tuple[str, Path] | None:
    """The address by version number and the model folder of ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    None if only MLflow can tell. Nothing is written.
    """
    matched = REGISTERED.fullmatch(uri)
    if matched is None or server() is not None or not database(root).is_file():
        return None
    name, alias, number = matched.groups()
    try:
        with closing(sqlite3.connect(f"{database(root).as_uri()}?mode=ro", uri=True)) as connection:
            version = number or _only(connection, ALIAS, name, alias)
            folder = Path(url2pathname(urlsplit(_only(connection, STORED, name, version)).path))
        if runs_folder(root) not in folder.parents:  # a bucket, or a moved project: see rebase.py
            return None
        return f"models:/{name}/{version}", data_folder(folder)
    except (sqlite3.Error, LookupError, OSError, TypeError, ValueError, yaml.YAMLError):
        return None


def data_folder(artifacts: Path) -> Path:
    """The model folder among a version's artifacts; raises OSError, KeyError, TypeError or YAMLError if damaged."""
    content = yaml.safe_load((artifacts / "MLmodel").read_text(encoding="utf-8"))
    return artifacts / str(content["flavors"]["python_function"]["data"])


def _only(connection: sqlite3.Connection, query: str, *values: str) -> str:
    """The only value that a query finds; raises LookupError if there is none, or more (in other workspaces)."""
    rows = connection.execute(query, values).fetchall()
    if len(rows) != 1:
        raise LookupError
    return str(rows[0][0])
