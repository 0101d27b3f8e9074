"""A team: two clones of a project and one MLflow server; both register, both see, compare and ask both models."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import mlflow
import pytest

from vilam.cli import app
from vilam.commands.serve import serve
from vilam.errors import VilamError
from vilam.tracking.address import ui_address
from vilam.tracking.connection import connect
from vilam.tracking.runs import open_run

PATIENCE = 180
"""Seconds in which a server starts on a busy machine."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server as docs/team.md starts it, in MLFLOW_TRACKING_URI; it ends with all its children."""
    address = f"http://127.0.0.1:{free_port()}"
    words = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./artifacts", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words, "--host", "127.0.0.1", "--port", address.rpartition(":")[2]],
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        start_new_session=True,
    )
    try:
        wait_for(f"{address}/health", process)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{address}/")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            urlopen(address).close()
            return
        except URLError:
            assert process.poll() is None and time.monotonic() < end, "the server did not start"
            time.sleep(0.2)


def clone(whole: Path, root: Path) -> Path:
    """A clone after training and evaluation with the server: its run is there, with its answers."""
    shutil.copytree(whole, root, ignore=shutil.ignore_patterns("mlruns", "checkpoints", "registered"))
    with open_run(root, f"train {root.name}") as tracker:
        tracker.log_artifacts(root / "predictions", "predictions")
    info = root / "models" / "train" / "run.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"run_id": tracker.run_id}))
    return root


def test_both_register_and_both_see_both(
    server: str,
    projects: Path,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    clones = [clone(projects / "whole", tmp_path / name) for name in ("theirs", "ours")]
    for root in clones:
        monkeypatch.chdir(root)
        app(["register"], standalone_mode=False)
    for root in clones:
        monkeypatch.chdir(root)
        capfd.readouterr()
        app(["models"], standalone_mode=False)
        shown = capfd.readouterr()
        assert "version 1" in shown.out and "version 2" in shown.out and "champion" in shown.out
        app(["compare", "models:/vilam/1", "models:/vilam/2"], standalone_mode=False)
        compared = capfd.readouterr()
        assert "rec_box/acc_0.5" in compared.out
        assert shown.err == compared.err == ""  # no progress bars either
        image = str(project / "docs" / "images" / "scenes.png")
        app(["predict", image, "--locate", "the red disc", "--model", "models:/vilam@champion"], standalone_mode=False)
        assert json.loads(capfd.readouterr().out)["task"] == "rec_box"
        assert not (root / "mlruns" / "mlflow.db").exists()
        assert json.loads((root / "models" / "registered" / "registry.json").read_text())["server"] == server
    assert ui_address() == server
    assert {run.info.run_name for run in mlflow.search_runs(output_format="list", experiment_names=["vilam"])} == {
        "train theirs",
        "train ours",
    }


def test_a_server_that_is_down_is_one_line_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://bob:secret@127.0.0.1:{port}/")
    with pytest.raises(VilamError) as caught:
        connect(tmp_path)
    assert str(caught.value).startswith(f"MLflow at http://127.0.0.1:{port}: does not answer (")
    assert str(caught.value).endswith("start the server, or unset MLFLOW_TRACKING_URI to track in mlruns/")


@pytest.mark.parametrize(
    ("server", "shown_at", "expected"),
    [
        ("http://bob:secret@mlflow.lab:5000/", "http://127.0.0.1:5050", "http://mlflow.lab:5000"),
        ("sqlite:///other.db", "http://127.0.0.1:5050", "http://127.0.0.1:5050"),
        ("", "http://127.0.0.1:5050", "http://127.0.0.1:5050"),
        ("", "", "http://127.0.0.1:5000"),
    ],
)
def test_links_lead_to_where_mlflow_is_shown(
    server: str, shown_at: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_UI", shown_at)
    assert ui_address() == expected


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(VilamError, match="is taken: end what listens there, or name another one with --port"):
            serve("models:/vilam@champion", "127.0.0.1", listener.getsockname()[1], tmp_path)


def test_a_model_that_is_not_registered_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match="no version of vilam is registered here"):
        serve("models:/vilam@champion", "127.0.0.1", free_port(), tmp_path)
    assert not (tmp_path / "mlruns").exists()
