"""The progress of a run, read from the lines of DVC and of the stages."""

from __future__ import annotations

from io import StringIO
from uuid import UUID, uuid4

import pytest

from flows import progress as module
from flows.progress import Progress
from vilam import progress


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets: its only element is the time in seconds."""
    time = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: time[0])
    return time


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """What the artifact has shown: percent and description."""
    made: list[tuple[float, str]] = []

    def create(percent: float, key: str, description: str) -> UUID:
        made.append((percent, description))
        return uuid4()

    monkeypatch.setattr(module, "create_progress_artifact", create)
    monkeypatch.setattr(module, "update_progress_artifact", lambda _, *renewed: made.append(renewed))
    return made


def test_the_page_shows_every_stage_time_left_and_loss(now: list[float], shown: list[tuple[float, str]]) -> None:
    stream = StringIO()

    def read_last() -> None:
        run.read(stream.getvalue().splitlines()[-1])

    with Progress(["prepare", "train", "evaluate"]) as run:
        assert shown[-1] == (0, "starting\n\n- **prepare**: waiting\n- **train**: waiting\n- **evaluate**: waiting")
        run.read("Stage 'prepare' didn't change, skipping")
        run.read("Running stage 'train':")
        run.read("> python -m vilam train")
        with progress.Progress(80, "train", "images", stream=stream) as stage:
            now[0] += 20
            stage.advance(60, loss=1.25)
            read_last()
            assert shown[-1][0] == 75
            assert shown[-1][1].splitlines() == [
                "train 75 %, loss 1.25, 0:07 left",
                "",
                "- **prepare**: unchanged",
                "- **train**: running, train: 60/80 images, 3.0 images/s, loss 1.25, 0:07 left",
                "- **evaluate**: waiting",
            ]
            now[0] += 10
            stage.advance(20)
        read_last()
        assert shown[-1][1].startswith("train 100 %, loss 1.25, 0:30 taken\n")
        run.read("Stage 'evaluate' is cached - skipping run, checking out outputs")
    assert shown[-1][1].splitlines()[2:] == [
        "- **prepare**: unchanged",
        "- **train**: done in 0:30",
        "- **evaluate**: unchanged",
    ]


@pytest.mark.parametrize(("error", "outcome"), [(ValueError, "failed"), (KeyboardInterrupt, "cancelled")])
def test_a_stage_that_does_not_end_well_is_named(
    error: type[BaseException], outcome: str, now: list[float], shown: list[tuple[float, str]]
) -> None:
    with pytest.raises(error), Progress(["train", "evaluate"]) as run:
        run.read("Running stage 'train':")
        run.read("train: 1/4 images")
        now[0] += 65
        raise error
    assert shown[-1] == (25, f"train {outcome}\n\n- **train**: {outcome} in 1:05\n- **evaluate**: waiting")


def test_a_server_that_does_not_answer_ends_no_training(
    shown: list[tuple[float, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(module, "update_progress_artifact", fail)
    with Progress(["train"]) as run:
        run.read("Running stage 'train':")


@pytest.mark.parametrize("line", ["", "vilam: train: no images", "http://127.0.0.1:4200/api", "a: 1/2/3"])
def test_other_lines_are_no_progress(line: str) -> None:
    assert progress.parsed(line) is None
