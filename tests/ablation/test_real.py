"""An ablation of real stages on a toy project (see tests/runs.py): trained, evaluated, tracked and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from vilam.ablation.jobs import Ablation
from vilam.ablation.plan import read_plan
from vilam.ablation.results import compare, finished
from vilam.config import load_settings


@pytest.fixture(scope="module")
def root(projects: Path) -> Path:
    return projects / "compared"


@pytest.fixture(scope="module")
def ablation(root: Path) -> Ablation:
    plan, base = read_plan(root / "plan.yaml", root / "params.yaml")
    return Ablation(plan, base, root)


def test_every_run_is_finished_and_compared(ablation: Ablation) -> None:
    results = list(finished(list(ablation.runs())))
    assert [result.run.arm for result in results] == ["none", "pseudo"]
    assert all(result.times["train"] > 0 for result in results)
    none, pseudo = (result.row for result in results)
    comparisons = compare(results)
    assert {each.metric for each in comparisons} == set(results[0].scores)
    for each in comparisons:
        assert each.difference.mean == pytest.approx(pseudo[each.metric] - none[each.metric], abs=1e-5)


def test_the_rows_say_what_the_evaluation_says(ablation: Ablation) -> None:
    for result in finished(list(ablation.runs())):
        metrics = json.loads((result.run.train.folder / "metrics" / "evaluate.json").read_text())["train"]
        shared = metrics.keys() & result.row.keys()
        assert {"rec_box/acc_0.5", "reg_caption/cider", "reg_class/accuracy", "cycle/round_trip_iou"} <= shared
        assert {name: result.row[name] for name in shared} == pytest.approx({n: metrics[n] for n in shared}, abs=1e-6)


def test_only_the_named_splits_and_tasks_are_evaluated(ablation: Ablation) -> None:
    for run in ablation.runs():
        assert set(json.loads((run.train.folder / "metrics" / "evaluate.json").read_text())) == {"train"}
        rows = pd.read_parquet(run.train.folder / "predictions" / "train.parquet")
        assert set(rows["task"]) == {"rec_box", "reg_class", "reg_caption"}
        assert (run.train.folder / "reports" / "index.html").stat().st_size > 0


def test_every_run_stands_in_the_projects_mlflow(root: Path, ablation: Ablation) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
    results = list(finished(list(ablation.runs())))
    runs = {result.run.arm: client.get_run(result.mlflow_run) for result in results}
    assert [run.info.run_name for run in runs.values()] == ["toy 0.5 none 3", "toy 0.5 pseudo 3"]
    for arm, run in runs.items():
        wanted = {"ablation": "toy", "arm": arm, "fraction": "0.5", "seed": "3", "git_commit": "none"}
        assert wanted.items() <= run.data.tags.items()
        assert "scores/rec_box/acc_0.5" in run.data.metrics
        assert run.data.params["train.cycle.mode"] in ("none", "pseudo")


def test_the_settings_of_a_run_can_be_run_by_hand(ablation: Ablation) -> None:
    for run in ablation.runs():
        settings = load_settings(run.train.folder / "params.yaml")
        assert (settings.seed, settings.synthesize.described_fraction) == (3, 0.5)
