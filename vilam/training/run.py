"""One trained model from the settings and the data: what the stages `activate` and `train` have in common."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path

from vilam.config import OptimiserSettings, Settings
from vilam.data.instructions import Instruction, read_instructions
from vilam.data.leakage import content_hashes
from vilam.data.store import RecordStore
from vilam.files import checksum, write_whole
from vilam.models.build import Trained, keep_features, save_trained
from vilam.models.device import precision
from vilam.training.checkpoint import Checkpoints, run_key
from vilam.training.cycle import Cycle
from vilam.training.engine import rank
from vilam.training.loop import History, Job, fit
from vilam.training.sampling import InstructionSampler

RECORDS, INSTRUCTIONS = Path("data/records"), Path("data/instructions")
Log = Callable[[Mapping[str, float], int], None]


def checkpoints_for(stage: str, settings: Settings, root: Path, *parts: object) -> Checkpoints:
    """The folder of this very run: named by its settings, its data and ``parts``."""
    files = [file for folder in (RECORDS, INSTRUCTIONS) for file in sorted((root / folder).glob("*"))]
    key = run_key(stage, settings.seed, settings.model.model_dump(), parts, [checksum(file) for file in files])
    return Checkpoints(root / "checkpoints" / stage / key)


def run_job(
    stage: str,
    settings: Settings,
    root: Path,
    start: Trained,
    tasks: Mapping[str, float],
    described_images: float,
    cycle: Cycle | None,
    checkpoints: Checkpoints,
    log: Log,
) -> History:
    """Train ``start`` on the tasks, write models/STAGE, metrics/STAGE.json and its loss curve; returns the history."""
    own: OptimiserSettings = getattr(settings, stage)
    use_threads(own.threads)
    start.model.settle(precision(own.precision))
    keep_features(start.model, settings.model)
    records = RecordStore(root / RECORDS, "train")
    held_out = _held_out_split(records)
    job = Job(
        name=stage,
        settings=own,
        model=start.model,
        tokenizer=start.tokenizer,
        card=start.card,
        records=records,
        sampler=InstructionSampler(
            read_instructions(root / INSTRUCTIONS, "train", set(tasks)),
            tasks,
            own.instructions_per_image,
            settings.seed,
            described_images,
        ),
        held_out=RecordStore(root / RECORDS, held_out),
        validation=validation_set(root, held_out, set(tasks), own.validation_images),
        cycle=cycle,
        seed=settings.seed,
    )
    model, history = fit(job, root, checkpoints, log)
    if rank() == 0:
        seen = start.seen | {*content_hashes(root / RECORDS, "train").values()}
        save_trained(Trained(model, start.tokenizer, start.card, start.info, seen), root / "models" / stage)
        write_history(history, stage, root)
    checkpoints.remove()
    return history


def use_threads(count: int) -> None:
    """How many threads torch computes with; 0 leaves it to torch."""
    import torch

    if count:
        torch.set_num_threads(count)


def _held_out_split(records: RecordStore) -> str:
    return next((name for name in records.card.splits if name.startswith("val")), records.card.splits[-1])


def validation_set(root: Path, split: str, tasks: set[str], num_images: int) -> Sequence[Instruction]:
    """The first of each task's instructions on the first images of a split."""
    chosen: dict[tuple[str, str], Instruction] = {}
    images: set[str] = set()
    for instruction in read_instructions(root / INSTRUCTIONS, split, tasks):
        images.add(instruction.image_id)
        if len(images) > num_images:
            break
        chosen.setdefault((instruction.image_id, instruction.task), instruction)
    return list(chosen.values())


def write_history(history: History, stage: str, root: Path) -> None:
    """metrics/STAGE.json with the last numbers and metrics/plots/STAGE_loss.csv with all of them."""
    names = sorted({name for row in history.rows for name in row} - {"step"})
    table = StringIO()
    writer = csv.DictWriter(table, ["step", *names], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history.rows)
    write_whole(root / "metrics" / "plots" / f"{stage}_loss.csv", table.getvalue())
    last = {name: row[name] for row in history.rows for name in names if name in row}
    content = {**last, "steps": history.rows[-1]["step"] if history.rows else 0, "images": history.images}
    write_whole(root / "metrics" / f"{stage}.json", json.dumps(content, indent=2) + "\n")
