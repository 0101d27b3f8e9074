"""Files and folders that are complete or absent even if the process is killed, and their checksums."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from vilam.errors import VilamError, first_line

_AT_FDCWD = -100  # Linux's fcntl.h: paths are relative to the working directory
_SWAP = 2  # RENAME_EXCHANGE of Linux's fs.h and RENAME_SWAP of macOS's stdio.h


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, and create its folder; the old file stays until the new content is complete.

    Raises VilamError if it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:
        raise VilamError(f"{path}: not written ({_reason(error)}): free space or fix its permissions") from error
    finally:
        with suppress(OSError):  # the first error is the one to report
            partial.unlink(missing_ok=True)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill. If the block succeeds it becomes ``folder``, and the old ``folder`` is removed.

    At any moment, also if the process is killed between two system calls, ``folder`` is the complete old one or the
    complete new one: Linux and macOS exchange the two names in one call. File systems that cannot do that (some network
    file systems) get two renames. A process killed between these two leaves the old folder beside its name, and
    `recover` gives the name back; the functions that open data sets, instructions and models call it first.

    Raises VilamError if the new folder cannot be written, or another process is writing it.
    """
    new, old = _beside(folder, "partial"), _beside(folder, "old")
    try:
        with _claimed(folder):
            yield new
            if not folder.is_dir():
                new.rename(folder)
            elif not _exchange(new, folder):
                folder.rename(old)
                new.rename(folder)
    except (OSError, SafetensorError) as error:
        raise VilamError(
            f"{folder}: could not be written ({_reason(error)}): free space or fix its permissions"
        ) from error


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Make the empty folder beside ``folder`` and lock it, so that no other process takes it for a leftover."""
    new = _beside(folder, "partial")
    if new.is_dir():
        with _locked(new, folder):
            pass
    recover(folder)
    _remove_leftovers(folder)
    new.mkdir(parents=True)
    with _locked(new, folder):
        try:
            yield
        finally:
            recover(folder)
            _remove_leftovers(folder)


@contextmanager
def _locked(new: Path, folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; it ends with the process. Raises VilamError if another process holds it."""
    descriptor = os.open(new, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise VilamError(f"{folder}: another process is writing it: wait for it, or end it") from None
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough: a forked worker has the file open too
        os.close(descriptor)


def recover(folder: Path) -> None:
    """Give ``folder`` its old content back if a process was killed while it replaced the folder by two renames."""
    old = _beside(folder, "old")
    if old.exists() and not folder.exists():
        with suppress(OSError):  # a folder that is missing is reported by whoever opens it
            old.rename(folder)


def read_json(path: Path, stage: str) -> dict[str, Any]:
    """The names and values in a JSON file that a stage wrote; raises VilamError if it is missing or broken."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VilamError(f"{path}: not found: run `dvc repro` first") from None
    except ValueError as error:
        raise VilamError(f"{path}: broken ({error}): run `dvc repro -f -s {stage}`") from None
    if not isinstance(content, dict):
        raise VilamError(f"{path}: broken (no names and values): run `dvc repro -f -s {stage}`")
    return content


def checksum(file: Path) -> str:
    """The file's SHA-256 as hex, read in pieces."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _beside(folder: Path, suffix: str) -> Path:
    folder = folder.absolute()
    if not folder.name:
        raise VilamError(f"{folder}: not a folder that can be replaced: name another one")
    return folder.with_name(f".{folder.name}.{suffix}")


def _exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two folders in one system call; False if the system or the file system cannot."""
    system, paths = ctypes.CDLL(None), (os.fsencode(first), os.fsencode(second))
    if hasattr(system, "renameat2"):  # Linux
        return bool(system.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _SWAP) == 0)
    if hasattr(system, "renamex_np"):  # macOS
        return bool(system.renamex_np(*paths, _SWAP) == 0)
    return False


def _remove_leftovers(folder: Path) -> None:
    """Remove what replacements left beside a folder.

    The old folder is renamed before its files are removed: `recover` must never find an incomplete one.
    """
    new, old = _beside(folder, "partial"), _beside(folder, "old")
    shutil.rmtree(new, ignore_errors=True)
    if folder.exists() and old.exists():
        with suppress(OSError):
            old.rename(new)
        shutil.rmtree(new, ignore_errors=True)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or first_line(error)
