"""The command from its file to its tables, with a shell in place of the stages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from vilam.ablation import command
from vilam.ablation.command import Part, ablate
from vilam.errors import VilamError


@pytest.fixture(autouse=True)
def without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No database: the stages are not real either."""
    monkeypatch.setattr(command, "_origin", lambda _: {})


def test_runs_are_compared_and_matched_in_time(write: Callable[..., Path], fake, tmp_path: Path, capsys) -> None:
    ablate(write(time_arms=["pseudo"]), tmp_path, run=True, docs=tmp_path / "docs", launch=fake)
    printed = capsys.readouterr().out
    folder = tmp_path / "ablations" / "toy"
    assert (tmp_path / "docs" / "ablation-toy.md").read_text() == printed == (folder / "tables.md").read_text()
    results = pd.read_csv(folder / "results.csv")
    assert sorted(results["arm"]) == ["none", "none", "none@pseudo", "none@pseudo", "pseudo", "pseudo"]
    assert set(results["mlflow_run"]) == {"abc"} and set(results["answers"]) == {10}
    comparisons = pd.read_csv(folder / "comparisons.csv").set_index(["budget", "metric"])
    # of the made-up answers: IoU 0.4, 0.45 ... 0.6 without the cycle and 0.6 ... 0.8 with it
    assert comparisons.loc[("steps", "rec_box/miou"), "difference"] == pytest.approx(0.2)
    assert comparisons.loc[("time", "rec_box/acc_0.5"), "difference"] == pytest.approx(0.4)
    assert "| `none` | 0.600 |" in printed and "| `pseudo` | 1.000 +0.400, " in printed.replace("**", "")
    with Image.open(tmp_path / "docs" / "images" / "ablation-toy.png") as plot:
        assert plot.width > 300


@pytest.mark.parametrize(
    ("start", "none", "pseudo", "steps"),
    [
        (2.0, 12.0, 16.95, 150),  # 0.1 s a step and 2 s to start: 149.5 steps
        (0.0, 10.0, 14.95, 150),
        (12.0, 10.0, 11.0, 200),  # measured on a busier machine than the rest: a tenth is left for the steps
    ],
)
def test_matched_steps_are_those_of_the_measured_time(
    start: float, none: float, pseudo: float, steps: int, write: Callable[..., Path], fake, tmp_path: Path
) -> None:
    path = write(time_arms=["pseudo"], seeds=[0], settings={"train.steps": 100})
    ablate(path, tmp_path, run=True, docs=None, launch=fake)
    assert [job.params["train"]["steps"] for job in fake.started if job.stage == "train"][:3] == [100, 100, 1]
    for place, seconds in (("0.5/none-0", none), ("0.5/pseudo-0", pseudo), ("shared/train-*", start)):
        (done,) = (tmp_path / "ablations" / "toy").glob(f"{place}/done/train.json")
        done.write_text(json.dumps(json.loads(done.read_text()) | {"processor_seconds": seconds}))
    fake.started.clear()
    ablate(path, tmp_path, run=True, docs=None, launch=fake)
    assert fake.names == ["0.5 none@pseudo 0: train", "0.5 none@pseudo 0: evaluate"]
    assert fake.started[0].params["train"]["steps"] == steps


def trained(fake) -> list[str]:
    """The runs that were trained, without what they have in common."""
    return sorted(job.label for job in fake.started if job.stage == "train" and job.tags)


def test_a_part_is_run_with_what_it_needs_and_all_that_is_finished_is_shown(
    write: Callable[..., Path], fake, tmp_path: Path, capsys
) -> None:
    arms = {
        "none": {"train.cycle.mode": "none"},
        "pseudo": {"train.cycle.mode": "pseudo"},
        "both": {"train.cycle.mode": "pseudo", "teacher": "pseudo"},
    }
    path = write(arms=arms, fractions=[0.5, 1.0], seeds=[0], time_arms=["pseudo", "both"], time_fractions=[0.5, 1.0])
    ablate(path, tmp_path, run=True, docs=None, part=Part(["pseudo"], [0.5]), launch=fake)
    assert trained(fake) == ["0.5 none 0", "0.5 none@pseudo 0", "0.5 pseudo 0"]
    fake.started.clear()
    ablate(path, tmp_path, run=True, docs=None, part=Part(["both"], [1.0]), launch=fake)
    assert trained(fake) == ["1 both 0", "1 none 0", "1 none@both 0", "1 pseudo 0"]  # pseudo teaches both
    assert "| 50% | `pseudo` | 1 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Part(["pseud"]), "ablate: --arm pseud: choose one of none, pseudo"),
        (Part([], [0.2]), "ablate: --fraction 0.2: choose one of 0.5"),
    ],
)
def test_a_part_that_is_not_there(part: Part, message: str, write: Callable[..., Path], fake, tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=message):
        ablate(write(), tmp_path, run=True, docs=None, part=part, launch=fake)
    assert fake.started == []


def test_only_the_table(write: Callable[..., Path], fake, tmp_path: Path, capsys) -> None:
    path = write()
    ablate(path, tmp_path, run=False, docs=None, launch=fake)
    assert fake.started == [] and capsys.readouterr().out == "Nothing is finished yet.\n"
    assert not (tmp_path / "ablations").exists()


def test_a_failure_ends_in_one_line_after_the_tables_of_the_rest(
    write: Callable[..., Path], fake, tmp_path: Path, capsys
) -> None:
    fake.failing = "pseudo 1: evaluate"
    with pytest.raises(VilamError, match=r"ablate: 1 failed, .*0\.5 pseudo 1: evaluate failed: vilam: out of luck"):
        ablate(write(), tmp_path, run=True, docs=None, launch=fake)
    shown = capsys.readouterr()
    assert "| 50% | `pseudo` | 1 |" in shown.out and "| 50% | `none` | 2 |" in shown.out
    assert shown.err.count("failed") == 1


def test_nothing_is_run_if_the_file_is_wrong(write: Callable[..., Path], fake, tmp_path: Path) -> None:
    with pytest.raises(VilamError, match="seeds"):
        ablate(write(seeds=[]), tmp_path, run=True, docs=None, launch=fake)
    assert fake.started == []
