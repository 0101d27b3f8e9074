"""`vilam ui`: what is started, which addresses are named, and that nothing is left after ctrl-C."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vilam.commands import ui
from vilam.errors import VilamError

SERVER = """
import os, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(60)"])
Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60 if sys.argv[2] == "stays" else 0)
"""
"""A server with a child that ignores SIGTERM."""
SERVE = """
import signal
from vilam.commands import ui
signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest may run in the background, which ignores it
ui.PATIENCE = 0.5
ui._serve({commands})
"""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, list[str]]]:
    """The commands that are started in place of real servers."""
    calls: list[dict[str, list[str]]] = []
    monkeypatch.setattr(ui, "_serve", calls.append)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return calls


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def free() -> int:
    """A port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_both_are_started_on_their_ports(
    started: list[dict[str, list[str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow, prefect = free(), free()
    ui.show(tmp_path, mlflow, prefect)
    commands = started[0]
    assert [*commands] == ["MLflow", "Prefect"]
    assert {f"sqlite:///{tmp_path}/mlruns/mlflow.db?timeout=60", str(mlflow)} <= {*commands["MLflow"]}
    assert str(prefect) in commands["Prefect"]
    shown = capsys.readouterr().out
    exports = f"export PREFECT_API_URL=http://127.0.0.1:{prefect}/api MLFLOW_UI=http://127.0.0.1:{mlflow}"
    assert exports in shown and (tmp_path / "mlruns").is_dir()


def test_only_prefect_is_started_beside_a_server_of_mlflow(
    started: list[dict[str, list[str]]],
    taken: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:8080/")
    ui.show(tmp_path, taken, free())
    assert [*started[0]] == ["Prefect"]
    shown = capsys.readouterr().out
    assert "MLflow   http://mlflow.example:8080   (MLFLOW_TRACKING_URI)" in shown and "MLFLOW_UI" not in shown
    assert "/api MLFLOW_TRACKING_URI=http://mlflow.example:8080" in shown and "ctrl-C ends Prefect" in shown


def test_a_taken_port_is_one_line(started: list[dict[str, list[str]]], taken: int, tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=f"port {taken} is taken: .*--mlflow-port"):
        ui.show(tmp_path, taken, free())
    with pytest.raises(VilamError, match=f"port {taken} is taken: .*--prefect-port"):
        ui.show(tmp_path, free(), taken)
    assert not started


def ended(child: int) -> bool:
    """Whether a process has ended; one that its parent has not waited for counts too."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(child)], capture_output=True, text=True).stdout
    return shown.strip().startswith("Z") or not shown


@pytest.mark.parametrize("interrupted", [True, False])
def test_nothing_is_left_behind(interrupted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ctrl-C, and if one of the two ends by itself: the other one, and their children, end."""
    (tmp_path / "server.py").write_text(SERVER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    commands = {
        "one": ["server", str(tmp_path / "one"), "stays"],
        "two": ["server", str(tmp_path / "two"), "stays" if interrupted else "ends"],
    }
    process = subprocess.Popen([sys.executable, "-c", SERVE.format(commands=commands)], stderr=subprocess.PIPE)
    while not all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in commands):
        time.sleep(0.01)
    if interrupted:
        process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == (0 if interrupted else 1)
    assert interrupted or b"two ended with 0: see its message above" in error
    assert all(ended(int((tmp_path / name).read_text())) for name in commands)
