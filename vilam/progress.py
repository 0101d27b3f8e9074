"""Progress: a live bar on a terminal, occasional lines elsewhere; always on stderr, since stdout is for results."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as LiveBar

Item = TypeVar("Item")

QUIET_SECONDS = 15.0
"""Least time between two lines if there is no terminal."""
LINE = re.compile(r"(?P<description>.+): (?P<done>\d+)/(?P<total>\d+)(?: [^,]+)?(?:, (?P<details>.+))?")
"""Such a line, as `Progress` prints it."""


class Progress:
    """Counts towards a total and shows rate, time left and fields such as the loss.

    ``unit`` names what ``total`` counts ("images" makes the rate images/s). Use it as a context manager:

        with Progress(total=8000, description="train", unit="images") as progress:
            progress.advance(16, loss=1.23)
    """

    def __init__(
        self, total: int, description: str, unit: str = "", done: int = 0, stream: TextIO | None = None
    ) -> None:
        """``done``: the part that an earlier process finished; it does not count into the rate."""
        self._total, self._description, self._unit = total, description, unit
        self._start, self._done = done, done
        self._stream = stream or sys.stderr
        self._fields: dict[str, float | str] = {}
        self._began = self._printed = 0.0
        self._printed_done = -1
        self._bar: LiveBar | None = None

    def __enter__(self) -> Progress:
        """Show the bar, or the first line."""
        self._began = time.monotonic()
        if self._stream.isatty():
            self._bar = _live_bar(self._stream)
            self._bar.add_task(self._description, total=self._total, completed=self._done, fields=self._details())
            self._bar.start()
        else:
            self._print_line()
        return self

    def advance(self, n: int = 1, **fields: float | str) -> None:
        """Count ``n`` more; ``fields`` (loss=1.23) are shown until their next values."""
        self._done += n
        self._fields.update(fields)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done, fields=self._details())
        elif time.monotonic() - self._printed >= QUIET_SECONDS:
            self._print_line()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the bar, or print the last line."""
        if self._bar is not None:
            self._bar.stop()
        elif self._printed_done != self._done:
            self._print_line(has_ended=kind is None)

    def _rate(self) -> float:
        return (self._done - self._start) / max(time.monotonic() - self._began, 1e-9)

    def _details(self) -> str:
        rate = [f"{self._rate():.1f} {self._unit or 'it'}/s"] if self._done > self._start else []
        return ", ".join(rate + [f"{name} {_short(value)}" for name, value in self._fields.items()])

    def _print_line(self, has_ended: bool = False) -> None:
        self._printed, self._printed_done = time.monotonic(), self._done
        ends = []
        if has_ended or self._done >= self._total:
            ends = [f"{clock(self._printed - self._began)} taken"]
        elif self._done > self._start:
            ends = [f"{clock((self._total - self._done) / self._rate())} left"]
        details = ", ".join([part for part in [self._details()] if part] + ends)
        line = f"{self._description}: {self._done}/{self._total}" + (f" {self._unit}" if self._unit else "")
        print(f"{line}, {details}" if details else line, file=self._stream, flush=True)


def track(iterable: Iterable[Item], total: int, description: str, unit: str = "") -> Iterator[Item]:
    """Yield the items of ``iterable`` and show how many of ``total`` are done."""
    with Progress(total, description, unit) as progress:
        for item in iterable:
            yield item
            progress.advance()


@dataclass(frozen=True, slots=True)
class Part:
    """What a line says: how much is done, and rate, fields and time left as texts."""

    description: str
    percent: float
    details: list[str]


def parsed(line: str) -> Part | None:
    """The line of a `Progress`; None if it is another line."""
    if (found := LINE.fullmatch(line)) is None:
        return None
    percent = 100 * int(found["done"]) / max(int(found["total"]), 1)
    return Part(found["description"], percent, found["details"].split(", ") if found["details"] else [])


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _live_bar(stream: TextIO) -> LiveBar:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fields]}"),
        TimeRemainingColumn(),
    )
    return LiveBar(*columns, console=Console(file=stream), refresh_per_second=4)
