"""``synthesize``: image records to the instructions of all grounding tasks, with their counts and lengths."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from vilam.config import Settings
from vilam.data.descriptions import Descriptions
from vilam.data.expressions import describe_the_undescribed, keep_share
from vilam.data.instructions import Instruction, read_table, write_instructions
from vilam.data.records import TRAIN, DatasetCard, ImageRecord
from vilam.data.store import read_card, read_records
from vilam.errors import VilamError
from vilam.files import write_whole
from vilam.launch import launch
from vilam.progress import track
from vilam.tasks import ACTIVATION, GROUP_TASKS, TASKS
from vilam.tasks.synthesis import render, render_groups


def run(settings: Settings, root: Path) -> None:
    """Read data/records, write data/instructions, metrics/synthesize.json and metrics/plots/synthesize_*.csv.

    Raises VilamError where the records are missing or broken, there is no such teacher, the disk is full, or nothing
    is left to train on. Data without a split train are for evaluation alone.
    """
    records, instructions, metrics = root / "data" / "records", root / "data" / "instructions", root / "metrics"
    card = read_card(records)
    said = _said(settings, root)
    if said is None:  # the first process writes
        return
    rendered = _rendered(records, card, said, settings)
    write_instructions(instructions, _with_train(rendered, records) if TRAIN in card.splits else rendered)
    table = read_table(instructions)
    write_whole(metrics / "plots" / "synthesize_counts.csv", _counts(table).to_csv(index=False))
    write_whole(metrics / "plots" / "synthesize_lengths.csv", _lengths(table).to_csv(index=False))
    write_whole(metrics / "plots" / "synthesize_round_trip.csv", said.histogram().to_csv(index=False))
    content = _metrics(table) | {"teacher": said.metrics()}
    write_whole(metrics / "synthesize.json", json.dumps(content, indent=2) + "\n")


def _said(settings: Settings, root: Path) -> Descriptions | None:
    """What the teacher says, if there is one, from all processes that the settings ask for; None in all but one."""
    if settings.synthesize.teacher is None:
        return Descriptions()
    from vilam.inference.addresses import find_model
    from vilam.inference.describing import describe, wordless

    teacher = find_model("synthesize.teacher", settings.synthesize.teacher, root, settings.model)
    if launch("synthesize", settings.synthesize, root):
        return None
    records = root / "data" / "records"
    given = (_given(record, settings) for record in read_records(records, TRAIN, images=False))
    return describe(teacher, records, wordless(given), settings)


def _given(record: ImageRecord, settings: Settings) -> ImageRecord:
    """The record with the expressions that it has without a teacher."""
    return keep_share(describe_the_undescribed(record), settings.synthesize.described_share, settings.seed)


def _rendered(folder: Path, card: DatasetCard, said: Descriptions, settings: Settings) -> Iterator[Instruction]:
    tasks = [*TASKS.values(), ACTIVATION]
    num_images = sum(counts["num_images"] for counts in card.counts.values())
    for record in track(read_records(folder, images=False), num_images, "synthesize", "images"):
        told = said.told(_given(record, settings))
        yield from render(told, card, tasks, settings.synthesize.expressions_per_region, settings.seed)
        yield from render_groups(told, GROUP_TASKS.values(), settings.seed)


def _with_train(instructions: Iterable[Instruction], folder: Path) -> Iterator[Instruction]:
    """The same instructions; raises VilamError at the end where none was of the split train."""
    found = False
    for instruction in instructions:
        found = found or instruction.split == TRAIN
        yield instruction
    if not found:
        raise VilamError(f"{folder}: no region to ask about in the split train: check prepare's source and splits")


def _counts(table: pd.DataFrame) -> pd.DataFrame:
    """Number of instructions: columns task, split, count."""
    return table.groupby(["task", "split"], sort=False).size().reset_index(name="count")


def _lengths(table: pd.DataFrame) -> pd.DataFrame:
    """Histogram of the lengths of the answers, a number counting as a word: columns task, num_words, count."""
    lengths = table.assign(num_words=table["answer"].str.count(" ") + 1)
    return lengths.groupby(["task", "num_words"]).size().reset_index(name="count")


def _metrics(table: pd.DataFrame) -> dict[str, Any]:
    """``num_instructions`` by task and split; ``num_regions`` and ``described``, shares of them by source, by split."""
    counts = {str(task): by_split["count"] for task, by_split in _counts(table).set_index("split").groupby("task")}
    captions = table[table["task"] == ACTIVATION.name].drop_duplicates(["split", "image_id", "region_id"])
    sources = captions.assign(source=captions["expression_source"].replace("", "none")).groupby("split", sort=False)
    return {
        "num_instructions": {task: {str(k): int(v) for k, v in by_split.items()} for task, by_split in counts.items()},
        "num_regions": {str(split): len(regions) for split, regions in sources},
        "described": {str(split): _shares(regions["source"]) for split, regions in sources},
    }


def _shares(names: pd.Series[str]) -> dict[str, float]:
    return {str(name): round(float(share), 4) for name, share in names.value_counts(normalize=True).items()}
