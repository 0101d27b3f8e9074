"""Several processes for one stage: the same command, started by torch's launcher once for each."""

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
"""How long one process waits for the others; the launcher ends all as soon as one fails."""


def launch(stage: str, settings: OptimiserSettings | SynthesizeSettings | EvaluateSettings, root: Path) -> bool:
    """Start this command line again as several processes where the settings ask for it; returns whether that was done.

    Raises VilamError that names the stage where one of them fails.
    """
    if settings.processes == 1 or "RANK" in os.environ:
        return False
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(settings.processes), "-m", "vilam", *sys.argv[1:]]
    if subprocess.run(command, cwd=root).returncode:
        raise VilamError(f"{stage}: one of {settings.processes} processes failed: its message stands above")
    return True


def rank() -> int:
    """This process's number among all that work together; 0 where it works alone, and in the one that starts others."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes work together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that work together: this one's rank, how many there are."""

    rank: int
    size: int

    def all_gather(self, found: Found) -> list[Found]:
        """What every process found, in the order of their ranks, in all of them. All must call it."""
        if self.size == 1:
            return [found]
        from torch import distributed

        parts = [found] * self.size
        distributed.all_gather_object(parts, found)
        return parts


ALONE = Processes(0, 1)
"""A process that works by itself."""


@contextmanager
def process_group() -> Iterator[Processes]:
    """Join the processes that `launch` started, by gloo, which any machine has; a process alone joins nobody."""
    if world_size() == 1:
        yield ALONE
        return
    from torch import distributed

    distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Processes(rank(), world_size())
    finally:
        distributed.destroy_process_group()
