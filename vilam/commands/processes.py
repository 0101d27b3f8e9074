"""What commands that start other programs share."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from vilam.errors import VilamError


def is_taken(host: str, port: int) -> bool:
    """Whether something listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def output_of(command: Sequence[str], root: Path, failure: str) -> str:
    """What a command prints; raises VilamError if it fails: ``failure`` with the last line of its errors for {}."""
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise VilamError(failure.format(last))
    return done.stdout
