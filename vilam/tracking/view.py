"""The page of MLflow that compares runs by a few columns: a saved view, opened by its name in the address."""

from __future__ import annotations

import json
from collections.abc import Sequence

import mlflow

from vilam.tracking.connection import EXPERIMENT, mlflow_errors
from vilam.tracking.runs import EXPERIMENT_TAG

NAME = "main"
"""The view's name in the address: ``#/experiments/ID/runs?viewStateShareKey=main``."""
TAG = "mlflow.sharedViewState."
"""MLflow's page keeps a view in the experiment's tag of this name and the view's."""
ATTRIBUTES = ("Models", "Duration")
TAGS = ("evaluated_on", EXPERIMENT_TAG)


def save_view(metrics: Sequence[str]) -> None:
    """Save the view with these metrics as columns, in the experiment of the open run; a later one replaces it."""
    columns = [f"attributes.`{name}`" for name in ATTRIBUTES]
    columns += [f"metrics.`{name}`" for name in metrics]
    columns += [f"tags.`{name}`" for name in TAGS]
    with mlflow_errors():
        mlflow.MlflowClient().set_experiment_tag(
            mlflow.get_experiment_by_name(EXPERIMENT).experiment_id,
            TAG + NAME,
            json.dumps({"selectedColumns": columns}),
        )
