"""Progress: a bar on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import io

import pytest

from vilam import progress
from vilam.progress import Progress, clock, track


class Terminal(io.StringIO):
    """A stream that pretends to be a terminal."""

    def isatty(self) -> bool:
        """Always true."""
        return True


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets: its only element is the time in seconds."""
    time = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: time[0])
    return time


def test_first_last_and_occasional_lines_are_printed(now: list[float]) -> None:
    stream = io.StringIO()
    with Progress(100, "train", "images", stream=stream) as bar:
        for _ in range(10):
            now[0] += 4.0
            bar.advance(10, loss=1.25)
    assert stream.getvalue().splitlines() == [
        "train: 0/100 images",
        "train: 40/100 images, 2.5 images/s, loss 1.25, 0:24 left",
        "train: 80/100 images, 2.5 images/s, loss 1.25, 0:08 left",
        "train: 100/100 images, 2.5 images/s, loss 1.25, 0:40 taken",
    ]


def test_earlier_progress_does_not_count_into_the_rate(now: list[float]) -> None:
    stream = io.StringIO()
    with Progress(100, "train", done=90, stream=stream) as bar:
        now[0] += 20.0
        bar.advance(10)
    assert stream.getvalue().splitlines()[-1] == "train: 100/100, 0.5 it/s, 0:20 taken"


def test_a_failure_prints_the_progress_so_far(now: list[float]) -> None:
    stream = io.StringIO()
    with pytest.raises(RuntimeError), Progress(3, "read", stream=stream) as bar:
        now[0] += 1.0
        bar.advance()
        raise RuntimeError
    assert stream.getvalue().splitlines()[-1] == "read: 1/3, 1.0 it/s, 0:02 left"


def test_what_was_left_out_is_no_time_left(now: list[float]) -> None:
    stream = io.StringIO()
    with Progress(3, "read", stream=stream) as bar:
        now[0] += 2.0
        bar.advance(2)
    assert stream.getvalue().splitlines()[-1] == "read: 2/3, 1.0 it/s, 0:02 taken"


def test_a_terminal_shows_a_bar_with_the_fields() -> None:
    stream = Terminal()
    with Progress(2, "train", "images", stream=stream) as bar:
        bar.advance(2, loss=0.5)
    assert "2/2" in stream.getvalue()
    assert "loss 0.5" in stream.getvalue()


def test_track_yields_every_item(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), 3, "letters")) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("letters: 0/3\n")


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0, 59.6, 61, 3661)] == ["0:00", "1:00", "1:01", "1:01:01"]
