"""Runs DVC as a process whose lines are logged, and ends its stage if the flow is cancelled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from vilam.errors import VilamError

DVC = """
import runpy, signal
signal.signal(signal.SIGTERM, lambda number, frame: None)
runpy.run_module("dvc", run_name="__main__")
"""
"""`python -m dvc`, which outlives SIGTERM: its stage ends, and DVC then fails in order and removes its copy."""
FLUSH_SECONDS = 1.0
"""Lines within this time are logged as one record."""
LAST_LINES = 5
"""Number of lines of the log that an error repeats."""
TRIES = 5
"""How often a stage is ended in order before it is killed; one that starts after the first time gets the next one."""
PATIENCE = 5
"""Seconds between two of them; Prefect kills the flow itself after 30."""


def run_dvc(
    words: Sequence[str], root: Path, log: Callable[[str], None], read: Callable[[str], None] | None = None
) -> None:
    """Run ``dvc WORDS`` in ``root``, log its lines and give each to ``read``; end it with its stage if the caller ends.

    Raises VilamError with the last lines if it fails.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    process = subprocess.Popen(
        [sys.executable, "-c", DVC, *words],
        cwd=root,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    last: deque[str] = deque(maxlen=LAST_LINES)
    try:
        with _Log(log) as logged:
            for line in _lines(process):
                last.append(line)
                logged.add(line)
                if read is not None:
                    read(line)
        status = process.wait()
    finally:
        _end(process)
    if status:
        raise VilamError(f"`{' '.join(['dvc', *words])}` ended with {status}: {' | '.join(last)}")


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines that are not empty, as they arrive."""
    assert process.stdout is not None
    yield from (line for line in map(str.rstrip, process.stdout) if line)


class _Log:
    """Logs lines, at most one record a second."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log, self._waiting, self._flushed = log, list[str](), 0.0

    def __enter__(self) -> _Log:
        return self

    def add(self, line: str) -> None:
        self._waiting.append(line)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        self._log("\n".join(self._waiting))
        self._waiting, self._flushed = [], time.monotonic()

    def __exit__(self, *_: object) -> None:
        if self._waiting:
            self._flush()


def _end(process: subprocess.Popen[str]) -> None:
    """End the stage, which closes its run of MLflow. DVC ends after it, on a busy machine some time after the flow."""
    for _ in range(TRIES):
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=PATIENCE)
    if process.poll() is None:
        for stage in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                stage.kill()
