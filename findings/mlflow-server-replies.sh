#!/usr/bin/env bash
# Expected: the reply of MLflow's model server is JSON with one prediction for each row, and an error says what is wrong.
# What happens: the message of an exception is not in `message`, but in `stack_trace` with paths of the server; only
# MlflowException has its own message, behind the whole table. A missing number is written as NaN, which is no JSON.
# Rows that have none of the columns of a signature, all optional, get no prediction and no error.
# Seen on: MLflow 3.17.2.
# Matters if one serves a model of one's own (pyfunc): catch what rows raise, return None in columns of objects, require
# one column, and raise an MlflowException whose message cannot be changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check mlflow==3.17.2
cat > "$work/served.py" <<'PYTHON'
import pandas as pd
from mlflow.exceptions import MlflowException

ERRORS = {"value": ValueError("wrong word"), "own": MlflowException("wrong word")}


class Model:
    def predict(self, table):
        for error in table.get("error", pd.Series(dtype=object)).dropna():
            raise ERRORS[error]
        return pd.DataFrame({"number": [None if word == "none" else 1.0 for word in table.get("word", [])]})


def _load_pyfunc(path):
    return Model()
PYTHON
cat > "$work/ask.py" <<'PYTHON'
import json
import os
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc.scoring_server import invocations
from mlflow.types.schema import AnyType, ColSpec, Schema

os.chdir(Path(__file__).parent)
Path("data").mkdir()
columns = Schema([ColSpec(AnyType(), name, required=False) for name in ("word", "error")])
mlflow.pyfunc.save_model(
    "model", loader_module="served", data_path="data", code_paths=["served.py"], signature=ModelSignature(columns)
)
model = mlflow.pyfunc.load_model("model")


def ask(*rows):
    request = json.dumps({"dataframe_records": rows})
    try:
        return invocations(request, "application/json", model, columns).response
    except MlflowException as error:
        return json.loads(error.serialize_as_json())


unknown, own = ask({"error": "value"}), ask({"error": "own"})
print(unknown["message"], "...", unknown["stack_trace"].splitlines()[1])
print(own["message"])
assert "wrong word" not in unknown["message"] and str(Path.cwd()) in unknown["stack_trace"]
assert own["message"].startswith("Failed to predict data '") and own["message"].endswith("wrong word")
print(ask({"word": "one"}, {"word": "none"}), ask({"wrod": "one"}, {"wrod": "one"}))
assert "NaN" in ask({"word": "one"}, {"word": "none"})
assert json.loads(ask({"wrod": "one"}, {"wrod": "one"}))["predictions"] == []
PYTHON
"$work/venv/bin/python" -W ignore "$work/ask.py" 2> "$work/log" || { cat "$work/log"; echo "changed"; exit 1; }
