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


def is_first() -> bool:
    """Whether this is the first of several processes, the one that starts them, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that work together: this one's number, how many there are."""

    rank: int
    size: int

    def gather(self, found: Found) -> list[Found] | None:
        """What every process found, in the order of their ranks; None in all but the first. All must call it."""
        if self.size == 1:
            return [found]
        from torch import distributed

        parts: list[Found] | None = [found] * self.size if self.rank == 0 else None
        distributed.gather_object(found, parts)
        return parts

    def share(self, found: Found) -> list[Found]:
        """What every process found, in the order of their ranks, in all of them. All must call it."""
        if self.size == 1:
            return [found]
        from torch import distributed

        parts = [found] * self.size
        distributed.all_gather_object(parts, found)
        return parts


ALONE = Team(0, 1)
"""A process that works by itself."""


@contextmanager
def team() -> Iterator[Team]:
    """Join the processes that `launch` started, by gloo, which any machine has; a process alone joins nobody."""
    size = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
    if size == 1:
        yield ALONE
        return
    from torch import distributed

    distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Team(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
