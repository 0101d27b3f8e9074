"""Files and folders that are there whole or not at all, whatever happens while they are written, and their sums."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from vilam.errors import VilamError


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, its folder too, or leave the one that was there; raises VilamError where it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:
        raise VilamError(f"{path}: not written ({error.strerror or error}): free space or mend its rights") from error
    finally:
        with suppress(OSError):  # what went wrong is told already
            partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write into, which takes the place of ``folder`` at the end; until then what was there stays.

    Raises VilamError where it cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except (OSError, SafetensorError) as error:
        raise VilamError(f"{folder}: could not be written: {error}: free some space and run again") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def checksum(file: Path) -> str:
    """The file's SHA-256, read in pieces."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
