"""`vilam compare`: paired differences, for answers from files, projects, runs and the registry."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from vilam.cli import app
from vilam.commands.compare import compare, comparison_table
from vilam.errors import VilamError
from vilam.evaluation.paired import paired_difference, scores
from vilam.tracking.connection import connect
from vilam.tracking.runs import open_run


def answers(
    seed: int, shift: float = 0.0, tasks: tuple[str, ...] = ("rec_box", "rec_mask", "reg_class")
) -> pd.DataFrame:
    """Answers to 120 questions about 30 images."""
    random = np.random.default_rng(seed)
    frames = [
        pd.DataFrame(
            {
                "question_id": [f"{task} {i}" for i in range(40)],
                "image_id": [f"image {i // 2}" for i in range(40)],
                "content_id": [f"image {i // 2}" for i in range(40)],
                "task": task,
                "truth": "circle",
                "iou": (random.random(40) + shift).clip(0, 1) if task != "reg_class" else np.nan,
                "correct": random.integers(0, 2, 40) if task == "reg_class" else np.nan,
                "oks": np.nan,
                "cider": np.nan,
                "exact": np.nan,
                "round_trip_iou": np.nan,
                "invalid": False,
            }
        )
        for task in ("rec_box", "rec_mask", "reg_class")
    ]
    return pd.concat(frames, ignore_index=True)


def project(folder: Path, rows: pd.DataFrame) -> Path:
    (folder / "predictions").mkdir(parents=True)
    rows.to_parquet(folder / "predictions" / "train.parquet")
    return folder


def cells(text: str) -> dict[str, list[str]]:
    """The cells of each metric's row."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if "/" in "".join(line.split()[:1])}


def test_differences_are_those_of_the_paired_bootstrap() -> None:
    first, second = scores(answers(0)), scores(answers(1, shift=0.4))
    found = cells(comparison_table(first, second))
    assert list(found) == [name for name in first if name in second and "/" in name]
    assert {
        "rec_box/acc_0.5",
        "rec_box/miou",
        "rec_mask/acc_0.5",
        "rec_mask/miou",
        "reg_class/accuracy",
    } <= found.keys()
    for name, row in found.items():
        expected = paired_difference([second[name]], [first[name]], 2000, seed=0)
        numbers = [float(cell) for cell in (row[0], row[1], row[2], row[3], row[5])]
        means = [float(first[name]["value"].mean()), float(second[name]["value"].mean())]
        assert numbers == pytest.approx([*means, expected.mean, expected.low, expected.high], abs=6e-4)
        assert ("*" in row) == expected.excludes_zero and row[-1] == "40"
    assert "*" in found["rec_box/miou"] and "*" not in found["reg_class/accuracy"]


def test_exchanging_the_models_changes_the_signs() -> None:
    first, second = scores(answers(0)), scores(answers(1))
    forward, back = cells(comparison_table(first, second)), cells(comparison_table(second, first))
    for name, row in forward.items():
        assert float(row[2]) == pytest.approx(-float(back[name][2]), abs=1e-3)
        assert float(row[3]) == pytest.approx(-float(back[name][5]), abs=2e-3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Path:
    """A project folder with an empty database."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "mlruns").mkdir()
    (folder / "mlruns" / "mlflow.db").write_bytes(database.read_bytes())
    return folder


def test_answers_are_read_from_all_sources(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file, a project folder, a run and a registered model."""
    rows = answers(0)
    folder = project(tmp_path / "one", rows)
    with open_run(root, "train") as tracker:
        tracker.log_artifacts(folder / "predictions", "predictions")
    connect(root)
    client = MlflowClient()
    client.create_registered_model("vilam")
    source = f"{mlflow.get_run(tracker.run_id).info.artifact_uri}/predictions"
    client.create_model_version("vilam", source, tracker.run_id)
    client.set_registered_model_alias("vilam", "champion", "1")
    sources = [str(folder / "predictions" / "train.parquet"), str(folder), tracker.run_id]
    for source in [*sources, "models:/vilam/1", "models:/vilam@champion"]:
        compare(source, str(project(tmp_path / source[-5:].replace("/", "_"), answers(1))), root)
        assert cells(capsys.readouterr().out) == cells(comparison_table(scores(rows), scores(answers(1))))


def test_the_command_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(project(tmp_path / str(seed), answers(seed))) for seed in (0, 1)]
    app(["compare", *folders], standalone_mode=False)
    assert "second - first" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("empty", "not found: run vilam evaluate"),
        ("broken.parquet", "not readable as answers"),
        ("0" * 32, "not found"),
    ],
)
def test_missing_or_broken_answers_are_one_line(source: str, message: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.parquet").write_bytes(b"nothing")
    where = source if source.startswith("0") else str(tmp_path / source)
    with pytest.raises(VilamError, match=message) as error:
        compare(where, where, root)
    assert "\n" not in str(error.value)


def test_different_questions_are_reported(tmp_path: Path, root: Path) -> None:
    fewer = str(project(tmp_path / "fewer", answers(0).iloc[3:]))
    with pytest.raises(VilamError, match="asked different questions"):
        compare(str(project(tmp_path / "all", answers(0))), fewer, root)


def test_models_without_a_common_task_are_reported() -> None:
    with pytest.raises(VilamError, match="no task in common"):
        comparison_table({}, scores(answers(0)))
