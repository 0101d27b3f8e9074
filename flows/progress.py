"""The progress of a run in the Prefect UI: one artifact, renewed by the lines that DVC and the stages print."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from vilam.progress import clock, parsed

STARTED = re.compile(r"Running stage '(.+)':")
SKIPPED = re.compile(r"Stage '(.+)' (?:didn't change|is cached)")
"""What DVC prints before it runs a stage, and if it does not."""


class Progress:
    """The state of every stage of a run, and how far the running one is.

    Use it as a context manager around DVC: at its end, the running stage is done, failed or cancelled.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        """Creates the artifact in the current flow run; every stage is waiting."""
        self._states = dict.fromkeys(stages, "waiting")
        self._running: str | None = None
        self._began = self._percent = 0.0
        made = create_progress_artifact(0.0, key="progress", description=self._description("starting"))
        assert isinstance(made, UUID)  # not a coroutine, which it is in an async flow
        self._artifact = made

    def read(self, line: str) -> None:
        """Take notice of a line of DVC or of a stage."""
        if found := STARTED.fullmatch(line):
            self._finish("done")
            self._running, self._began = found[1], time.monotonic()
            self._states[found[1]] = "running"
            self._show(0.0, found[1])
        elif found := SKIPPED.match(line):
            self._finish("done")
            self._states[found[1]] = "unchanged"
            self._show(100.0, f"{found[1]} unchanged")
        elif self._running and (part := parsed(line)):
            self._states[self._running] = f"running, {line}"
            details = [detail for detail in part.details if not detail.endswith("/s")]
            self._show(part.percent, ", ".join([f"{part.description} {part.percent:.0f} %", *details]))

    def __enter__(self) -> Progress:
        """Nothing to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show how the stages ended."""
        outcome = "done" if error is None else "failed" if isinstance(error, Exception) else "cancelled"
        if self._running or error is not None:
            shown = f"{self._running or 'run'} {outcome}"
            self._finish(outcome)
            self._show(100.0 if error is None else self._percent, shown)

    def _finish(self, outcome: str) -> None:
        if self._running:
            self._states[self._running] = f"{outcome} in {clock(time.monotonic() - self._began)}"
            self._running = None

    def _show(self, percent: float, line: str) -> None:
        self._percent = percent
        with suppress(Exception):  # a server that does not answer for a moment ends no training
            update_progress_artifact(self._artifact, percent, self._description(line))

    def _description(self, line: str) -> str:
        """The page of a run shows the first line; the rest is shown below, or on the artifact's own page."""
        return "\n".join([line, "", *(f"- **{stage}**: {state}" for stage, state in self._states.items())])
