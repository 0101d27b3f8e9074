"""``register``: the trained model into the registry, as challenger, and as champion if the gate passes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from vilam.config import Settings
from vilam.errors import VilamError
from vilam.files import read_json, recover, write_atomically
from vilam.inference.serving import serving
from vilam.layout import Layout
from vilam.tracking.registration import register_model
from vilam.tracking.sharing import export_versions, take_over


def run(settings: Settings, root: Path) -> None:
    """Read metrics/evaluate.json and models/train, register the model, write metrics/register.json.

    Raises VilamError if one of them is missing or broken, the metrics are of another model, or MLflow cannot be used.
    """
    layout, own = Layout(root), settings.register_
    model, scored = layout.model("train"), layout.metrics("evaluate")
    if (metrics := read_json(scored, "evaluate").get("train")) is None:
        raise VilamError(f"{scored}: of another model than models/train: set evaluate.model to null and evaluate again")
    recover(model)
    run_id = read_json(model / "run.json", "train").get("run_id")
    if run_id is None:
        raise VilamError(f"{model / 'run.json'}: no MLflow run: run `dvc repro -f -s train`")
    take_over(root, own.model_name, serving())
    made = register_model(root, model, run_id, metrics, own, serving())
    export_versions(root, own.model_name)
    write_atomically(layout.metrics("register"), json.dumps(asdict(made), indent=2) + "\n")
    print(f"{own.model_name} version {made.version}: {'champion' if made.passed else 'challenger'}")
    print("\n".join(f"  {reason}" for reason in made.reasons))
