"""``vilam ui``: MLflow and Prefect side by side on this machine alone; ctrl-C ends both with all their children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from vilam.commands.processes import is_taken
from vilam.errors import VilamError
from vilam.tracking.address import runs_folder, server, ui_address
from vilam.tracking.connection import connect

HOST = "127.0.0.1"
SETTINGS = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PREFECT_UI_API_URL": "/api",  # else Prefect's page asks the default port, whichever port served it
}
"""Environment variables of both."""
PATIENCE = 5
"""Seconds that both may take to end."""


def show(root: Path, mlflow_port: int, prefect_port: int) -> None:
    """Serve both until ctrl-C; MLflow only if MLFLOW_TRACKING_URI names no server, which has a page of its own.

    Raises VilamError if a port is taken or one of them ends by itself.
    """
    own = not (server() or "").startswith("http")
    commands = {"MLflow": _mlflow(root, mlflow_port)} if own else {}
    commands["Prefect"] = ["prefect", "server", "start", "--host", HOST, "--port", str(prefect_port)]
    for name, port in (({"mlflow": mlflow_port} if own else {}) | {"prefect": prefect_port}).items():
        _check_free(port, name)
    mlflow, prefect = f"http://{HOST}:{mlflow_port}" if own else ui_address(), f"http://{HOST}:{prefect_port}"
    print(f"MLflow   {mlflow}" + ("   (takes up to a minute to answer)" if own else "   (MLFLOW_TRACKING_URI)"))
    print(f"Prefect  {prefect}")
    exports = f"PREFECT_API_URL={prefect}/api {'MLFLOW_UI' if own else 'MLFLOW_TRACKING_URI'}={mlflow}"
    print(f"for runs in another terminal:  export {exports}\nctrl-C ends {'both' if own else 'Prefect'}", flush=True)
    _serve(commands)


def _mlflow(root: Path, port: int) -> list[str]:
    stored = ["--backend-store-uri", connect(root), "--default-artifact-root", str(runs_folder(root) / "artifacts")]
    return ["mlflow", "ui", *stored, "--host", HOST, "--port", str(port), "--workers", "1"]


def _check_free(port: int, name: str) -> None:
    if is_taken(HOST, port):
        raise VilamError(f"port {port} is taken: end what listens there, or name another one with --{name}-port")


def _serve(commands: dict[str, list[str]]) -> None:
    """Run the commands as process groups until ctrl-C; raises VilamError if one of them ends before that."""
    running = {
        name: subprocess.Popen([sys.executable, "-m", *words], env={**os.environ, **SETTINGS}, start_new_session=True)
        for name, words in commands.items()
    }
    try:
        while not (ended := [name for name, process in running.items() if process.poll() is not None]):
            time.sleep(0.2)
        raise VilamError(f"{ended[0]} ended with {running[ended[0]].returncode}: see its message above")
    except KeyboardInterrupt:
        pass
    finally:
        _end([*running.values()])


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """End the process groups; nothing of them is left."""
    latest = time.monotonic() + PATIENCE
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(latest - time.monotonic(), 0.1))
