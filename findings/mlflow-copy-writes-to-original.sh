#!/usr/bin/env bash
# Expected: a folder with mlruns (SQLite and artifacts) can be copied; the copy is a project of its own.
# What happens: the database holds absolute addresses of artifacts. A run that is logged in the copy has its parameters
# and metrics in the copy's database and its files in the folder of the original, without a word.
# Seen on: MLflow 3.17.2 (mlflow-skinny and what SQLite needs).
# Matters if a project is copied as a backup or for a colleague: both fill the original, and a copy whose original is
# gone has runs without artifacts.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check mlflow==3.17.2
cat > "$work/log.py" <<'PYTHON'
import sys
from pathlib import Path

import mlflow

here = Path.cwd()
mlflow.set_tracking_uri(f"sqlite:///{here}/mlflow.db")
if mlflow.get_experiment_by_name("project") is None:
    mlflow.create_experiment("project", artifact_location=(here / "artifacts").as_uri())
mlflow.set_experiment("project")
with mlflow.start_run():
    mlflow.log_text("weights", f"model-of-{sys.argv[1]}.txt")
PYTHON
export MLFLOW_DISABLE_TELEMETRY=true
mkdir "$work/original"
(cd "$work/original" && "$work/venv/bin/python" ../log.py first 2>/dev/null)
cp -r "$work/original" "$work/copy"
(cd "$work/copy" && "$work/venv/bin/python" ../log.py second 2>/dev/null)
"$work/venv/bin/python" -c "import mlflow; print('MLflow', mlflow.__version__)"
cd "$work"
echo "files of both runs:"
find original copy -name 'model-of-*.txt' | sed 's|/[0-9a-f]\{32\}/|/RUN/|' | sort
found=$(find original -name 'model-of-second.txt' | wc -l)
test "$found" = 1 || { echo "changed: the copy keeps its own files"; exit 1; }
