#!/usr/bin/env bash
# Expected: mlflow.set_tracking_uri is a setting of this process, in memory.
# What happens: it also writes os.environ["MLFLOW_TRACKING_URI"]. Every child process inherits it, and in this process
# nobody can tell it from a variable that the user has set.
# Seen on: MLflow 3.17.2 (mlflow-skinny).
# Matters if code prefers the user's variable and else sets a default: the second call takes the default for the user's
# choice. And a child that works in another folder logs to the parent's database.
# Known upstream: it was asked for, so that spawned processes log to the same place (mlflow/mlflow#12315).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check mlflow-skinny==3.17.2
cd "$work"

MLFLOW_DISABLE_TELEMETRY=true "$work/venv/bin/python" - <<'PYTHON'
import os
import subprocess
import sys

os.environ.pop("MLFLOW_TRACKING_URI", None)
import mlflow

ADDRESS = "sqlite:///of-the-parent.db"
mlflow.set_tracking_uri(ADDRESS)
print("MLflow", mlflow.__version__)
print("environment after set_tracking_uri:", os.environ.get("MLFLOW_TRACKING_URI"))
os.mkdir("elsewhere")
child = subprocess.run(
    [sys.executable, "-c", "import mlflow; print(mlflow.get_tracking_uri())"],
    cwd="elsewhere", capture_output=True, text=True, check=True,
).stdout.strip()
print("a child process in another folder tracks to:", child)
assert os.environ.get("MLFLOW_TRACKING_URI") == child == ADDRESS, "changed: the environment is left alone"
PYTHON
