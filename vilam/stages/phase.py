"""Trains a model by the settings and the data: the common part of the stages `activate` and `train`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

import torch

from vilam.config import OptimiserSettings, Settings
from vilam.cycle.cycle import Cycle
from vilam.data.card import read_card
from vilam.data.instructions import Instruction, read_counts, read_instructions
from vilam.data.readers.source import RawRecord
from vilam.data.records import TRAIN, DatasetCard
from vilam.data.rules import use_notes
from vilam.data.sanity import Statistics
from vilam.data.store import RecordStore, content_hashes, read_records
from vilam.errors import VilamError
from vilam.files import checksum, write_atomically
from vilam.inference.limits import refuses_long
from vilam.inference.model import Model
from vilam.inference.unread import without_unread
from vilam.launch import rank
from vilam.layout import Layout
from vilam.models.build import LoadedModel, keep_features, save_model
from vilam.models.device import precision
from vilam.training.checkpoint import Checkpoints, run_key
from vilam.training.loop import History, Log, TrainingRun, fit
from vilam.training.sampling import InstructionSampler


@dataclass(frozen=True, slots=True)
class Data:
    """The data of a run: the records of train and of a held-out split, and the instructions about them."""

    records: RecordStore
    held_out: RecordStore
    instructions: Sequence[Instruction]
    validation: Sequence[Instruction]

    @classmethod
    def open(cls, layout: Layout, tasks: set[str], validation_images: int) -> Data:
        """Opens the data of these tasks; raises VilamError if they are missing or damaged."""
        records = RecordStore(layout.records, TRAIN)
        split = validation_split(records.card) or _with_regions(records.card)[-1]
        instructions = list(read_instructions(layout.instructions, TRAIN, tasks))
        validation = validation_set(read_instructions(layout.instructions, split, tasks), validation_images)
        return cls(records, RecordStore(layout.records, split), instructions, validation)


def check_use(settings: Settings, layout: Layout) -> None:
    """Raises VilamError if the data do not fit what settings of training and evaluation say, before a model is made.

    `prepare` only warned of it, or had other settings.
    """
    card, counts = read_card(layout.records), read_counts(layout.instructions)
    found = list(use_notes({split: counts.get(split, {}) for split in card.splits}, settings))
    if refuses_long(settings.model, layout.root):
        statistics = Statistics()
        for record in read_records(layout.records, images=False):
            statistics.add(RawRecord(record, ""))
        found += statistics.notes(True)
    for note in found:
        if note.blocks:
            raise VilamError(f"{card.name}: {note.text}")


def validation_split(card: DatasetCard) -> str | None:
    """The split to choose settings and thresholds on; None if there is none, for the test split is not for that.

    One without a region does not count.
    """
    return next((name for name in _with_regions(card) if name.startswith("val")), None)


def _with_regions(card: DatasetCard) -> list[str]:
    return [name for name in card.splits if card.counts.get(name, {}).get("num_regions", 1)]


def checkpoints_for(stage: str, settings: Settings, layout: Layout, *parts: object) -> Checkpoints:
    """The checkpoints of this run; the folder's name depends on the settings, the data and ``parts``."""
    files = [file for folder in (layout.records, layout.instructions) for file in sorted(folder.glob("*"))]
    key = run_key(stage, settings.seed, settings.model.model_dump(), parts, [checksum(file) for file in files])
    return Checkpoints(layout.checkpoints(stage, key))


def train_stage(
    stage: str,
    settings: Settings,
    layout: Layout,
    start: LoadedModel,
    data: Data,
    tasks: Mapping[str, float],
    described_images: float,
    cycle: Cycle | None,
    checkpoints: Checkpoints,
    log: Log,
    measure: Callable[[Model], Mapping[str, Any]] = lambda _: {},
) -> History:
    """Trains ``start`` on the tasks; writes models/STAGE, metrics/STAGE.json and its curves.

    measure: of the trained model; what it returns is kept in the model's run.json.
    """
    own: OptimiserSettings = getattr(settings, stage)
    if own.threads:
        torch.set_num_threads(own.threads)
    start.network.cast_frozen(precision(own.precision))
    keep_features(start.network, settings.model)
    model = Model.for_data(start.network, start.tokenizer, start.card)
    instructions = without_unread(model, data.records, data.instructions, stage)
    sampler = InstructionSampler(instructions, tasks, own.instructions_per_image, settings.seed, described_images)
    run = TrainingRun(
        name=stage,
        settings=own,
        model=model,
        records=data.records,
        sampler=sampler,
        held_out=data.held_out,
        validation=without_unread(model, data.held_out, data.validation, f"{stage}, validation"),
        cycle=cycle,
        seed=settings.seed,
    )
    network, history = fit(run, layout.root, checkpoints, log)
    if rank() == 0:
        seen = start.seen | {*content_hashes(layout.records, TRAIN).values()}
        info = {**start.info, **measure(replace(run.model, network=network))}
        save_model(replace(start, network=network, info=info, seen=seen), layout.model(stage))
        write_history(history, stage, layout)
    checkpoints.remove()
    return history


def validation_set(instructions: Iterable[Instruction], num_images: int) -> Sequence[Instruction]:
    """The first instruction of each task about each of the first ``num_images`` images."""
    chosen: dict[tuple[str, str], Instruction] = {}
    images: set[str] = set()
    for instruction in instructions:
        images.add(instruction.image_id)
        if len(images) > num_images:
            break
        chosen.setdefault((instruction.image_id, instruction.task), instruction)
    return list(chosen.values())


def write_history(history: History, stage: str, layout: Layout) -> None:
    """Writes metrics/STAGE.json with the last numbers and the curves of all of them, metrics/plots/STAGE_NAME.csv."""
    for name, table in curves(history.rows).items():
        if (stage, name) != ("activate", "cycle"):  # it never has one
            write_atomically(layout.plot(f"{stage}_{name}"), table)
    names = sorted({name for row in history.rows for name in row} - {"step"})
    last = {name: row[name] for row in history.rows for name in names if name in row}
    content = {**last, "steps": history.rows[-1]["step"] if history.rows else 0, "images": history.images}
    write_atomically(layout.metrics(stage), json.dumps(content, indent=2) + "\n")


def curves(rows: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """The rows of a history as CSV tables with the columns step, metric, value, by the kind of metric.

    Each kind is measured at steps of its own: one table with a column for each metric would have empty cells, which
    DVC's plots draw as 0. Without a cycle its table has no rows.
    """
    tables = {"loss": StringIO(), "validation": StringIO(), "cycle": StringIO()}
    writers = {kind: csv.writer(table, lineterminator="\n") for kind, table in tables.items()}
    for writer in writers.values():
        writer.writerow(["step", "metric", "value"])
    for row in rows:
        for name, value in row.items():
            if name != "step":
                kind = {"val": "validation", "cycle": "cycle"}.get(name.partition("_")[0], "loss")
                writers[kind].writerow([row["step"], name, value])
    return {kind: table.getvalue() for kind, table in tables.items()}
