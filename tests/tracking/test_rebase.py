"""A project that was moved or copied: its database names the new place, and the original is left alone."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from vilam.tracking.connection import connect
from vilam.tracking.registry import download_artifact
from vilam.tracking.runs import open_run

ELSEWHERE = ("s3://bucket/mlruns/artifacts", "file:///elsewhere/mlruns/artifacts")


@dataclass(frozen=True)
class Project:
    """A project folder with a run, a logged model and a registered version."""

    root: Path
    run_id: str


@pytest.fixture
def original(tmp_path: Path, database: Path) -> Project:
    root = tmp_path / "original"
    (root / "mlruns").mkdir(parents=True)
    shutil.copy(database, root / "mlruns" / "mlflow.db")
    (root / "answers.txt").write_text("a box")
    with open_run(root, "train") as tracker:
        tracker.log_artifact(root / "answers.txt", "predictions")
        mlflow.initialize_logged_model("model")
    client = MlflowClient()
    for number, address in enumerate(ELSEWHERE):
        client.create_experiment(f"other {number}", address)
    client.create_registered_model("vilam")
    client.create_model_version("vilam", mlflow.get_run(tracker.run_id).info.artifact_uri, tracker.run_id)
    return Project(root, tracker.run_id)


def content(root: Path) -> dict[str, str]:
    """The checksum of every file."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def dump(root: Path) -> str:
    """The database as text."""
    with closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as connection:
        return "\n".join(connection.iterdump())


def answers(root: Path, run_id: str) -> str:
    return download_artifact(run_id, "predictions/answers.txt", root).read_text()


@pytest.mark.parametrize(("name", "move"), [("renamed", shutil.move), ("50%20 off, ä#ü", shutil.copytree)])
def test_a_moved_or_copied_project_has_its_runs(
    name: str,
    move: Callable[[Path, Path], object],
    original: Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved = original.root.parent / name
    move(original.root, moved)
    shutil.rmtree(original.root, ignore_errors=True)
    monkeypatch.chdir(moved)  # as the commands
    capsys.readouterr()
    assert answers(moved, original.run_id) == "a box"
    assert capsys.readouterr().err.splitlines() == [
        f"vilam: {moved}/mlruns was moved or copied from {original.root}/mlruns: its MLflow database follows"
    ]
    assert answers(moved, original.run_id) == "a box"
    assert capsys.readouterr().err == ""
    inserted = [line for line in dump(moved).splitlines() if not line.startswith('INSERT INTO "tags"')]
    assert str(original.root) not in "\n".join(inserted)
    assert {f"other {number}" for number in range(2)} == {
        each.name for each in mlflow.search_experiments() if each.artifact_location in ELSEWHERE
    }
    assert sorted(path.name for path in moved.parent.iterdir()) == [name]


def test_a_copy_leaves_the_original_alone(original: Project) -> None:
    copy = original.root.parent / "copy"
    shutil.copytree(original.root, copy)
    before = content(original.root)
    _artifact_repos_cache.clear()  # as in a new process
    with open_run(copy, "evaluate", original.run_id) as tracker:
        tracker.log_artifact(copy / "answers.txt", "later")
        tracker.set_tags({"later": "yes"})
    assert tracker.run_id == original.run_id
    assert (copy / "mlruns" / "artifacts" / tracker.run_id / "artifacts" / "later" / "answers.txt").is_file()
    assert content(original.root) == before
    assert answers(original.root, original.run_id) == "a box"
    assert content(original.root) == before


def test_a_link_to_a_project_changes_nothing(original: Project, capsys: pytest.CaptureFixture[str]) -> None:
    link = original.root.parent / "link"
    link.symlink_to(original.root)
    before = content(original.root)
    capsys.readouterr()
    assert answers(link, original.run_id) == answers(original.root, original.run_id) == "a box"
    assert content(original.root) == before
    assert capsys.readouterr().err == ""


def test_artifacts_that_are_kept_elsewhere_stay_there(
    original: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a larger disk: they exist there, and none are beside the database."""
    (tmp_path / "small disk").mkdir()
    shutil.copy(original.root / "mlruns" / "mlflow.db", tmp_path / "small disk")
    monkeypatch.setenv("VILAM_MLRUNS", str(tmp_path / "small disk"))
    assert answers(tmp_path / "any", original.run_id) == "a box"
    assert not (tmp_path / "small disk" / "artifacts").exists()


def test_two_processes_at_once_change_it_once(original: Project, capsys: pytest.CaptureFixture[str]) -> None:
    moved = original.root.rename(original.root.parent / "moved")
    capsys.readouterr()
    with ThreadPoolExecutor() as pool:
        list(pool.map(connect, [moved] * 8))
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert answers(moved, original.run_id) == "a box"
