"""Small files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

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
