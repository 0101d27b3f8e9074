"""Tracking: what is logged can be read back, and each error is one line."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from vilam.config import Settings, load_settings
from vilam.errors import VilamError
from vilam.tracking.connection import mlflow_errors
from vilam.tracking.runs import data_version, flatten, git_commit, metric_name, open_run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Path:
    """A project folder with a fresh database."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "mlruns").mkdir()
    (folder / "mlruns" / "mlflow.db").write_bytes(database.read_bytes())
    return folder


@pytest.fixture(scope="module")
def settings(project: Path) -> Settings:
    """The project's own settings."""
    return load_settings(project / "params.yaml")


@pytest.fixture(autouse=True)
def no_run_left_open() -> Iterator[None]:
    """Every test ends its runs."""
    yield
    assert mlflow.active_run() is None


def test_a_run_keeps_what_was_logged_and_can_be_opened_again(root: Path, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>report</p>")
    with open_run(root, "train", params=settings, tags={"stage": "train"}) as tracker:
        tracker.log_metrics({"loss": 2.0}, step=1)
        tracker.log_metrics({"loss": 1.0}, step=2)
    with open_run(root, "evaluate", tracker.run_id, params={"seed": settings.seed + 1}) as later:
        later.log_metrics({"rec_box/acc@0.5": 0.5})
        later.log_artifacts(tmp_path, "report")
    run = mlflow.get_run(tracker.run_id)
    assert later.run_id == tracker.run_id
    assert run.info.run_name == "train"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["loss"] == 1.0
    assert run.data.metrics["rec_box/acc_0.5"] == 0.5
    assert run.data.params["train.cycle.mode"] == settings.train.cycle.mode
    assert run.data.params["seed"] == str(settings.seed)
    assert run.data.tags["later.seed"] == str(settings.seed + 1)
    assert run.data.tags["git_commit"] == "unknown"
    artifacts = root / "mlruns" / "artifacts" / tracker.run_id / "artifacts"
    assert (artifacts / "report" / "page.html").read_text() == "<p>report</p>"


def test_a_run_uses_the_experiment_that_another_run_has_just_created(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs that start at the same time both find none."""
    with open_run(root, "train") as first:
        pass
    experiment = mlflow.get_run(first.run_id).info.experiment_id
    find = mlflow.get_experiment_by_name
    answers = iter([None])
    monkeypatch.setattr(mlflow, "get_experiment_by_name", lambda name: next(answers, find(name)))
    with open_run(root, "train") as second:
        pass
    assert mlflow.get_run(second.run_id).info.experiment_id == experiment


def test_a_run_of_a_dvc_experiment_bears_its_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "muggy-limb")
    with open_run(root, "train", tags={}) as tracker:
        assert tracker.origin["dvc_experiment"] == "muggy-limb"
    run = mlflow.get_run(tracker.run_id)
    assert (run.info.run_name, run.data.tags["dvc_experiment"]) == ("muggy-limb: train", "muggy-limb")
    monkeypatch.setenv("DVC_EXP_NAME", "tidy-bear")
    with open_run(root, "register", tracker.run_id):  # of an experiment that trained nothing itself
        pass
    assert mlflow.get_run(tracker.run_id).info.run_name == "muggy-limb: train"
    with open_run(root, "train", tracker.run_id, tags={}):  # of one that goes on with the training
        pass
    run = mlflow.get_run(tracker.run_id)
    assert (run.info.run_name, run.data.tags["dvc_experiment"]) == ("tidy-bear: train", "tidy-bear")


def test_a_new_run_is_opened_if_mlflow_does_not_know_the_id(root: Path) -> None:
    with open_run(root, "evaluate", "0" * 32) as tracker:
        pass
    assert tracker.run_id != "0" * 32


@pytest.mark.parametrize(("error", "status"), [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_is_ended_if_its_body_raises(root: Path, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), open_run(root, "train") as tracker:
        raise error
    assert mlflow.get_run(tracker.run_id).info.status == status


def test_the_first_error_is_reported_if_the_run_cannot_be_ended_either(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="boom") as caught, open_run(root, "train"):
        monkeypatch.setattr(mlflow, "end_run", MagicMock(side_effect=MlflowException("it is gone")))
        raise RuntimeError("boom")
    monkeypatch.undo()
    mlflow.end_run()
    assert "it is gone" in caught.value.__notes__[0]


def test_a_locked_database_is_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run(root, "train"):
        pass
    database = root / "mlruns" / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}?timeout=0.05")
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(VilamError, match=r"mlflow\.db.*database is locked: another") as caught, open_run(root, "x"):
            pass
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run(root, "train") as tracker:
        message = (
            "(raised as a result of autoflush)\n(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT]"
        )
        monkeypatch.setattr(mlflow, "log_metrics", MagicMock(side_effect=MlflowException(message)))
        with pytest.raises(VilamError, match=r"database or disk is full: free some space, then run again$") as caught:
            tracker.log_metrics({"loss": 1.0})
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_bytes(b"not a database " * 100)
    with pytest.raises(VilamError, match="not a database: the file is broken"), open_run(tmp_path, "train"):
        pass


def test_a_server_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(VilamError, match="start the server, or unset MLFLOW_TRACKING_URI"), open_run(tmp_path, "train"):
        pass


def test_a_name_that_the_server_does_not_allow_says_how_to_allow_it() -> None:
    refusal = "API request failed with error code 403. Response body: 'Invalid Host header - possible DNS rebinding'"
    with pytest.raises(VilamError, match="start the server with --allowed-hosts"), mlflow_errors():
        raise MlflowException(refusal)


@pytest.mark.parametrize(
    ("name", "valid"),
    [("rec_box/acc_0.5", "rec_box/acc_0.5"), ("acc@0.5", "acc_0.5"), ("refcoco+/é", "refcoco_plus/_")],
)
def test_metric_names_are_made_valid(name: str, valid: str) -> None:
    assert metric_name(name) == valid


def test_flatten_uses_the_names_of_params_yaml(settings: Settings) -> None:
    flat = flatten(settings)
    assert flat["register.primary"] == settings.register_.primary
    assert flat["train.cycle.refresh"] == str(settings.train.cycle.refresh)
    assert all(isinstance(value, str) for value in flat.values())


def test_data_version_is_read_from_dvc_lock(tmp_path: Path) -> None:
    assert data_version(tmp_path) == {}
    lock = (
        "stages: {prepare: {cmd: x, outs: [{path: data/records, md5: abc.dir}, {path: m.json, md5: d}]}, y: {cmd: z}}"
    )
    (tmp_path / "dvc.lock").write_text(lock)
    assert data_version(tmp_path) == {"data/records": "abc.dir"}


def test_git_commit_marks_changed_code_but_not_changed_results(tmp_path: Path) -> None:
    identity = {f"GIT_{who}_{what}": "nobody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=tmp_path, env={**os.environ, **identity}, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "-q")
    for name in ("code.py", "dvc.lock"):
        (tmp_path / name).write_text("one")
    git("add", ".")
    git("commit", "-qm", "Begin")
    commit = git("rev-parse", "HEAD")
    (tmp_path / "dvc.lock").write_text("two")
    assert git_commit(tmp_path) == commit
    (tmp_path / "code.py").write_text("two")
    assert git_commit(tmp_path) == f"{commit}-dirty"
