"""``train``: phase 2, all tasks jointly, and the cycle between the two directions."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vilam.config import Settings
from vilam.cycle.cycle import Cycle
from vilam.data.card import read_card
from vilam.data.instructions import read_instructions
from vilam.evaluation.certainty import certainty_curve
from vilam.files import checksum, write_atomically
from vilam.inference.certainty import CERTAINTY, REC, REG
from vilam.inference.model import Model
from vilam.launch import launch, rank
from vilam.layout import Layout
from vilam.models.build import load_model
from vilam.models.device import autocast, precision
from vilam.stages.phase import Data, check_use, checkpoints_for, train_stage, validation_split
from vilam.training.checkpoint import Checkpoints


def run(settings: Settings, root: Path) -> None:
    """Train models/activate further in one MLflow run; write models/train, metrics/train.json and the loss curve."""
    layout, own = Layout(root), settings.train
    check_use(settings, layout)
    if launch("train", own, root):
        return
    from vilam.tracking.runs import open_run

    before = load_model(layout.model("activate"))
    weights = [checksum(file) for file in sorted(layout.model("activate").glob("*.safetensors"))]
    checkpoints = checkpoints_for("train", settings, layout, own.model_dump(), weights)
    cycle = Cycle(own.cycle, own.tasks, own.steps, settings.seed)
    name = f"{settings.prepare.source} {own.cycle.mode}, seed {settings.seed}"
    tags = {key: before.info[key] for key in ("fine_tuned_from",) if key in before.info}
    tracked = open_run(root, name, _run_id(checkpoints), settings, tags) if rank() == 0 else nullcontext(None)
    with tracked as tracker:
        if tracker is not None:
            _keep_run_id(checkpoints, tracker.run_id)
        trained = [task for task, weight in own.tasks.items() if weight]
        info = {**before.info, "stage": "train", "run_id": tracker.run_id if tracker else None, "tasks": trained}
        start = replace(before, card=read_card(layout.records), info=info)
        data = Data.open(layout, {*own.tasks}, own.validation_images)
        log = tracker.log_metrics if tracker else lambda *_: None
        measure = partial(certainty, trained, layout, data)
        train_stage(
            "train", settings, layout, start, data, own.tasks, own.described_images, cycle, checkpoints, log, measure
        )


def certainty(tasks: Collection[str], layout: Layout, data: Data, model: Model) -> dict[str, Any]:
    """The threshold of uncertain boxes and its curve, for run.json; {} without a validation split or enough answers.

    It takes a model that was trained to find and to describe.
    """
    split = validation_split(data.records.card)
    if split is None or not {REC.name, REG.name} <= set(tasks):
        return {}
    questions = read_instructions(layout.instructions, split, {REC.name})
    asked = {(each.image_id, each.region_id): each for each in questions}
    with autocast(model.network, precision("auto")):
        found = certainty_curve(model, data.held_out, list(asked.values()))
    return {} if found is None else {CERTAINTY: found}


def _run_id(checkpoints: Checkpoints) -> str | None:
    """The MLflow run of the training that is resumed."""
    path = checkpoints.folder / "run.json"
    return json.loads(path.read_text(encoding="utf-8"))["run_id"] if path.is_file() else None


def _keep_run_id(checkpoints: Checkpoints, run_id: str) -> None:
    write_atomically(checkpoints.folder / "run.json", json.dumps({"run_id": run_id}))
