"""``train``, step 2: all tasks jointly, and the cycle between the two directions."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

from vilam.config import Settings
from vilam.data.store import read_card
from vilam.errors import VilamError
from vilam.files import checksum, write_whole
from vilam.launch import launch
from vilam.models.build import Trained, load_trained
from vilam.tasks import ALL_TASKS
from vilam.training.checkpoint import Checkpoints
from vilam.training.cycle import Cycle
from vilam.training.engine import rank
from vilam.training.run import RECORDS, checkpoints_for, run_job


def run(settings: Settings, root: Path) -> None:
    """Train step 2 from models/activate as one MLflow run; write models/train, metrics/train.json, the loss curve."""
    if unknown := settings.train.tasks.keys() - ALL_TASKS.keys():
        raise VilamError(f"train.tasks: unknown {', '.join(sorted(unknown))}: choose of {', '.join(ALL_TASKS)}")
    if launch("train", settings.train, root):
        return
    from vilam.tracking import open_run

    before = load_trained(root / "models" / "activate")
    card = read_card(root / RECORDS)
    weights = [checksum(file) for file in sorted((root / "models" / "activate").glob("*.safetensors"))]
    checkpoints = checkpoints_for("train", settings, root, settings.train.model_dump(), weights)
    cycle = Cycle(settings.train.cycle, settings.train.tasks, before.tokenizer, card, settings.seed)
    name = f"{settings.prepare.source} {settings.train.cycle.mode}, seed {settings.seed}"
    tags = {"start": before.info["start"]} if "start" in before.info else {}
    tracked = open_run(root, name, _run_id(checkpoints), settings, tags) if rank() == 0 else nullcontext(None)
    with tracked as tracker:
        if tracker is not None:
            _keep_run_id(checkpoints, tracker.run_id)
        trained = [name for name, weight in settings.train.tasks.items() if weight]
        info = {**before.info, "stage": "train", "run_id": tracker.run_id if tracker else None, "tasks": trained}
        start = Trained(before.model, before.tokenizer, card, info, before.seen)
        log = tracker.log_metrics if tracker else lambda *_: None
        run_job(
            "train",
            settings,
            root,
            start,
            settings.train.tasks,
            settings.train.described_images,
            cycle,
            checkpoints,
            log,
        )


def _run_id(checkpoints: Checkpoints) -> str | None:
    """The MLflow run of the training that is gone on with."""
    path = checkpoints.folder / "run.json"
    return json.loads(path.read_text(encoding="utf-8"))["run_id"] if path.is_file() else None


def _keep_run_id(checkpoints: Checkpoints, run_id: str) -> None:
    write_whole(checkpoints.folder / "run.json", json.dumps({"run_id": run_id}))
