"""One process of a project at a time, for what MLflow does not do in one step: two experiments may run at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from vilam.errors import VilamError, first_line
from vilam.tracking.connection import runs_folder


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Wait until no other process of the project is in such a block; a process may be in several of its own.

    Raises VilamError if mlruns cannot be written.
    """
    path = runs_folder(root) / ".lock"
    lock = FileLock(path, is_singleton=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise VilamError(f"{path}: not written ({first_line(error)}): free space or fix its permissions") from error
    try:
        yield
    finally:
        lock.release()
