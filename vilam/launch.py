"""Several processes for one stage: torch's launcher starts the same command in each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from vilam.config import EvaluateSettings, OptimiserSettings, SynthesizeSettings
from vilam.errors import VilamError

Found = TypeVar("Found")
PATIENCE = timedelta(days=1)
"""How long a process waits for the others; the launcher ends all of them as soon as one fails."""


def launch(stage: str, settings: OptimiserSettings | SynthesizeSettings | EvaluateSettings, root: Path) -> bool:
    """Run this command again in several processes if the settings say so; returns whether that was done.

    Raises VilamError that names the stage if one of them fails.
    """
    if settings.processes == 1 or "RANK" in os.environ:
        return False
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(settings.processes), "-m", "vilam", *sys.argv[1:]]
    if _wait(command, root):
        raise VilamError(f"{stage}: one of {settings.processes} processes failed: see its message above")
    return True


def _wait(command: list[str], root: Path) -> int:
    """Run the launcher to its end; if this process is ended before that, the launcher ends its own ones first.

    In a session of its own it gets one signal, from here: at a second one it leaves its processes behind, and
    `subprocess.run` would kill it a quarter of a second after ctrl-C.
    """
    launcher = subprocess.Popen(command, cwd=root, start_new_session=True)
    try:
        return launcher.wait()
    except BaseException:
        launcher.terminate()
        launcher.wait()
        raise


def rank() -> int:
    """The rank of this process; 0 if it is the only one, and in the process that starts the others."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """The number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that work together: the rank of this one, and their number."""

    rank: int
    size: int

    def all_gather(self, found: Found) -> list[Found]:
        """The objects of all processes, in the order of ranks, in every process. All of them must call it."""
        if self.size == 1:
            return [found]
        from torch import distributed

        parts = [found] * self.size
        distributed.all_gather_object(parts, found)
        return parts


ALONE = Processes(0, 1)
"""A single process."""


@contextmanager
def process_group() -> Iterator[Processes]:
    """Connect the processes that `launch` started, by gloo, which works on any machine; ALONE if there is one."""
    if world_size() == 1:
        yield ALONE
        return
    from torch import distributed

    distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Processes(rank(), world_size())
    finally:
        distributed.destroy_process_group()
