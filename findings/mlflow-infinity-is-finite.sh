#!/usr/bin/env bash
# Expected: a metric reads back as it was logged, or is refused.
# What happens: with a database, infinity reads back as the largest finite number, 1.8e308; NaN stays NaN.
# Seen on: MLflow 3.17.2 with SQLite.
# Matters if a gate or a plot filters with isfinite: a run that diverged passes, a mean overflows again, and minus
# infinity (the log of 0) wins every search for the smallest loss.
# Known upstream: mlflow/mlflow#22827; the docs of log_metric say so in one sentence.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check mlflow==3.17.2
cd "$work"

MLFLOW_DISABLE_TELEMETRY=true "$work/venv/bin/python" - 2> "$work/log" <<'PYTHON' || { tail -5 "$work/log"; exit 1; }
import math

import mlflow

mlflow.set_tracking_uri("sqlite:///runs.db")
client = mlflow.MlflowClient()
experiment = client.create_experiment("losses", artifact_location="artifacts")
print("MLflow", mlflow.__version__)
read = {}
for logged in (0.5, math.nan, math.inf, -math.inf):
    run = client.create_run(experiment, run_name=str(logged)).info.run_id
    client.log_metric(run, "loss", logged)
    read[str(logged)] = client.get_run(run).data.metrics["loss"]
    print(f"logged {logged}, read {read[str(logged)]}, finite: {math.isfinite(read[str(logged)])}")
best = client.search_runs([experiment], order_by=["metrics.loss ASC"])[0].info.run_name
print("the run of the smallest loss:", best)
assert math.isfinite(read["inf"]) and math.isfinite(read["-inf"]), "changed: infinity stays infinite"
assert math.isnan(read["nan"]) and best == "-inf", "changed"
PYTHON
