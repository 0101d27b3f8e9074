"""Checkpoints by step. A run that was killed at any moment resumes from the last complete checkpoint.

``checkpoints/<stage>/<key>/step-000500/`` holds what DeepSpeed saves (weights, optimiser, scheduler, client state) and,
written last, ``manifest.json`` with the size and checksum of every file. Checkpoints are not among DVC's outs, which
DVC deletes before a stage runs. The key is a digest of all that the run depends on: a run with other settings or other
data never resumes from these checkpoints. Two runs with the same key at the same time, which two experiments may start,
have a folder each: ``<key>`` and ``<key>-2``.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from vilam.errors import VilamError, first_line
from vilam.files import checksum
from vilam.launch import rank, world_size

MANIFEST = "manifest.json"
LOCK = ".lock"
"""The file that a run holds in its folder as long as it lives."""
KEPT = 2


def run_key(*parts: object) -> str:
    """A digest of everything that a run depends on; the parts are written as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Checkpoints:
    """The checkpoints of one run in ``folder``, or in ``folder-2`` … while other runs hold the ones before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if rank() == 0:
            self.folder, self._lock = _claim(folder)

    def save(self, engine: Any, step: int, state: dict[str, Any]) -> None:
        """Saves after ``step`` steps; all processes call it. The oldest are removed once this one is complete."""
        tag = f"step-{step:06d}"
        client = {"step": step, "random": random_state(), **state}
        try:
            engine.save_checkpoint(str(self.folder), tag=tag, client_state=client, save_latest=False)
            torch.distributed.barrier()
            if rank() == 0:
                write_manifest(self.folder / tag)
                for old in self._complete()[:-KEPT]:
                    shutil.rmtree(old)
            torch.distributed.barrier()
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            shutil.rmtree(self.folder / tag, ignore_errors=True)
            raise VilamError(
                f"{self.folder / tag}: not written ({first_line(error)}): free some space and start again: the run "
                "resumes from the previous checkpoint"
            ) from error

    def load(self, engine: Any) -> dict[str, Any] | None:
        """Loads the newest complete checkpoint into the engine; returns its client state, None if there is none."""
        self.folder = _of_first_process(self.folder)
        complete = self._complete(report=rank() == 0)
        torch.distributed.barrier()
        if not complete:
            return None
        path, client = engine.load_checkpoint(str(self.folder), tag=complete[-1].name)
        if path is None:
            raise VilamError(f"{complete[-1]}: cannot be loaded: remove the folder to start from the previous one")
        restore_random_state(client["random"])
        return dict(client)

    def remove(self) -> None:
        """Removes the checkpoints: the run is done."""
        torch.distributed.barrier()
        if rank() == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.release()

    def _complete(self, report: bool = False) -> list[Path]:
        """Complete checkpoints, oldest first; damaged ones are skipped, and named if ``report``."""
        complete = []
        for folder in sorted(self.folder.glob("step-*")):
            if problem := damage(folder):
                if report:
                    print(f"{folder}: {problem}: skipped", file=sys.stderr)
            else:
                complete.append(folder)
        return complete


def _claim(folder: Path) -> tuple[Path, FileLock]:
    """The first folder that no other run holds, one with checkpoints before a new one, and its lock."""
    begun = sorted(folder.parent.glob(f"{folder.name}*"))
    new = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    locks = (FileLock(candidate / LOCK, blocking=False) for candidate in chain(begun, [folder], new))
    lock = next(filter(_is_acquired, locks))
    return Path(lock.lock_file).parent, lock


def _is_acquired(lock: FileLock) -> bool:
    path = Path(lock.lock_file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        return False
    except OSError as error:
        raise VilamError(
            f"{path}: not written ({first_line(error)}): free some space or fix its permissions"
        ) from error
    return True


def _of_first_process(folder: Path) -> Path:
    """The folder that the first process has, in all of them."""
    found = [folder]
    if world_size() > 1:
        torch.distributed.broadcast_object_list(found)
    return found[0]


def write_manifest(folder: Path) -> None:
    """Writes the sizes and checksums of all files of a folder, atomically."""
    files = {file.name: _fingerprint(file) for file in sorted(folder.iterdir()) if file.name != MANIFEST}
    partial = folder / f".{MANIFEST}"
    partial.write_text(json.dumps(files, indent=2), encoding="utf-8")
    partial.rename(folder / MANIFEST)


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, None if it is complete."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "not finished"
    except ValueError:
        return f"{MANIFEST} is damaged"
    if not isinstance(files, dict):
        return f"{MANIFEST} is damaged"
    for name, fingerprint in files.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if _fingerprint(folder / name) != fingerprint:
            return f"{name} is damaged"
    return None


def _fingerprint(file: Path) -> list[object]:
    return [file.stat().st_size, checksum(file)]


def random_state() -> dict[str, Any]:
    """The state of every random generator that training may use."""
    state = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Restores what `random_state` returned."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
