"""``register``: the trained model into the registry, as challenger, and as champion where the gate holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vilam.config import Settings
from vilam.errors import VilamError
from vilam.files import write_whole
from vilam.registry import register_model


def run(settings: Settings, root: Path) -> None:
    """Read metrics/evaluate.json and models/train, register the model, write metrics/register.json.

    Raises VilamError where one of them is missing or broken, the metrics are another model's, or MLflow cannot be used.
    """
    model, scored = root / "models" / "train", root / "metrics" / "evaluate.json"
    if (metrics := _read(scored).get("train")) is None:
        raise VilamError(f"{scored}: of another model than models/train: set evaluate.model to null and evaluate again")
    run_id = _read(model / "run.json")["run_id"]
    made = register_model(root, model, run_id, metrics, settings.register_)
    write_whole(root / "metrics" / "register.json", json.dumps(asdict(made), indent=2) + "\n")
    print(f"{settings.register_.model_name} version {made.version}: {'champion' if made.passed else 'challenger'}")
    print("\n".join(f"  {reason}" for reason in made.reasons))


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VilamError(f"{path}: not found: run `dvc repro` first") from None
    except json.JSONDecodeError as error:
        raise VilamError(f"{path}: broken ({error}): run `dvc repro -f -s {path.stem}`") from None
    return content
