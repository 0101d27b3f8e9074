#!/usr/bin/env bash
# MLflow and Prefect side by side on this machine alone; ctrl-C ends both with all their children.
set -euo pipefail
set -m  # each in a process group of its own, so that its children end with it
mlflow_port=${MLFLOW_PORT:-5000} prefect_port=${PREFECT_PORT:-4200}

for port in "$mlflow_port" "$prefect_port"; do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "port $port is taken: end what listens there, or set MLFLOW_PORT and PREFECT_PORT" >&2
    exit 1
  fi
done

export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
mlflow ui --backend-store-uri "sqlite:///$PWD/mlruns/mlflow.db" --default-artifact-root "$PWD/mlruns/artifacts" \
  --host 127.0.0.1 --port "$mlflow_port" --workers 1 &
mlflow_group=$!
prefect server start --host 127.0.0.1 --port "$prefect_port" &
prefect_group=$!

stop() {
  trap '' INT TERM
  kill -TERM -- "-$mlflow_group" "-$prefect_group" 2>/dev/null || true
  sleep 3
  kill -KILL -- "-$mlflow_group" "-$prefect_group" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 130' INT TERM

echo "MLflow   http://127.0.0.1:$mlflow_port   (takes up to a minute to answer)"
echo "Prefect  http://127.0.0.1:$prefect_port"
echo "ctrl-C ends both"
wait
