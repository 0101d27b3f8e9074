"""A moved or copied project: MLflow's database names the artifacts by absolute paths, which are put right here.

The database lies in the project's folder ``mlruns`` and its artifacts beside it. If the experiment names another folder
than the one beside the database, the project was renamed, moved or copied since. Then every address below that folder
becomes the same one below this folder, in one transaction; addresses elsewhere (a bucket, another disk) stay.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
"""Where MLflow 3.17 keeps addresses of artifacts."""
ARTIFACTS = "artifacts"
"""The folder of the artifacts, beside the database."""


def rebase(database: Path, experiment: str, patience: float) -> None:
    """Let an existing database name the artifacts beside it, if its ``experiment`` names those of another place.

    patience: seconds to wait while another process writes. Prints one line on stderr if addresses were changed. Of two
    processes at once, the second finds nothing to change. Raises sqlite3.Error if the file is no database or cannot be
    written.
    """
    here = database.parent
    with closing(sqlite3.connect(database, timeout=patience, isolation_level=None)) as connection:
        if _moved_from(connection, experiment, here) is None:
            return
        connection.execute("BEGIN IMMEDIATE")
        old = _moved_from(connection, experiment, here)  # another process may have been first
        if old is not None:
            _replace(connection, old, here)
        connection.execute("COMMIT")
    if old is not None:
        print(f"vilam: {here} was moved or copied from {old}: its MLflow database follows", file=sys.stderr)


def _moved_from(connection: sqlite3.Connection, experiment: str, here: Path) -> Path | None:
    """The folder in which the database was before; None if it is still there, or the artifacts are kept elsewhere."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return None
    found = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
    address = urlsplit(found[0] if found else "")
    artifacts = Path(url2pathname(address.path))
    if address.scheme != "file" or artifacts.name != ARTIFACTS:
        return None
    if artifacts.is_dir() and (not (here / ARTIFACTS).is_dir() or artifacts.samefile(here / ARTIFACTS)):
        return None
    return None if artifacts.parent == here else artifacts.parent


def _replace(connection: sqlite3.Connection, old: Path, new: Path) -> None:
    """Replace the folder ``old`` at the beginning of every address, which is a URI or a path."""
    for table, column in COLUMNS:
        for before, after in ((old.as_uri(), new.as_uri()), (str(old), str(new))):
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                (after, len(before) + 1, len(before) + 1, f"{before}/"),
            )
