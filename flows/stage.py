"""The Prefect task that runs one stage of dvc.yaml, streams its log and shows its results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger

from flows.artifacts import show_stage
from vilam.errors import VilamError

FLUSH_SECONDS = 1.0
"""Lines within this time are logged as one record."""
LAST_LINES = 5
"""Number of lines of the log that an error repeats."""


@task(task_run_name="{stage}", retries=1, retry_delay_seconds=5)
def run_stage(stage: str, root: Path) -> None:
    """Run one stage if anything that it depends on has changed; raises VilamError with the last lines of its log."""
    run_logged([sys.executable, "-m", "dvc", "repro", "--single-item", stage], root, get_run_logger().info)
    show_stage(stage, root)


def run_logged(command: Sequence[str], root: Path, log: Callable[[str], None]) -> None:
    """Run a command in ``root`` and log its lines; end it and its children if the caller ends.

    Raises VilamError if it fails.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    process = subprocess.Popen(
        command,
        cwd=root,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        last = _stream(process, log)
        status = process.wait()
    finally:
        if process.poll() is None:
            _end(process)
    if status:
        words = " ".join(["dvc", *command[3:]])
        raise VilamError(f"`{words}` ended with {status}: {' | '.join(last)}")


def _stream(process: subprocess.Popen[str], log: Callable[[str], None]) -> list[str]:
    """Log the lines of the process as they arrive, at most one record a second; returns the last ones."""
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=LAST_LINES)
    waiting: list[str] = []
    flushed = 0.0
    for line in process.stdout:
        if not (line := line.rstrip()):
            continue
        last.append(line)
        waiting.append(line)
        if time.monotonic() - flushed >= FLUSH_SECONDS:
            log("\n".join(waiting))
            waiting, flushed = [], time.monotonic()
    if waiting:
        log("\n".join(waiting))
    return list(last)


def _end(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
