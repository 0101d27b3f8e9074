"""``synthesize``: from image records to the instructions of all grounding tasks, with their counts and lengths."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from vilam.config import Settings
from vilam.data.card import read_card
from vilam.data.descriptions import Descriptions
from vilam.data.expressions import add_rule_expressions, keep_described
from vilam.data.instructions import Instruction, read_table, write_instructions
from vilam.data.records import TRAIN, DatasetCard, ImageRecord
from vilam.data.store import RecordStore, read_records
from vilam.errors import VilamError
from vilam.files import write_atomically
from vilam.launch import launch
from vilam.layout import Layout
from vilam.progress import track
from vilam.tasks import ACTIVATION, GROUP_TASKS, TASKS
from vilam.tasks.synthesis import render, render_groups


def run(settings: Settings, root: Path) -> None:
    """Read data/records; write data/instructions, metrics/synthesize.json and metrics/plots/synthesize_*.csv.

    Raises VilamError if the records are missing or broken, the teacher does not exist, the disk is full, or there is
    nothing to ask about. Data without a split train are for evaluation only.
    """
    layout = Layout(root)
    card = read_card(layout.records)
    descriptions = _descriptions(settings, layout)
    if descriptions is None:  # only the first process writes
        return
    rendered = _rendered(layout.records, card, descriptions, settings)
    write_instructions(layout.instructions, _some(rendered, layout))
    table = read_table(layout.instructions)
    write_atomically(layout.plot("synthesize_counts"), _counts(table).to_csv(index=False))
    write_atomically(layout.plot("synthesize_lengths"), _lengths(table).to_csv(index=False))
    write_atomically(layout.plot("synthesize_round_trip"), descriptions.histogram().to_csv(index=False))
    content = _metrics(table) | {"teacher": descriptions.metrics()}
    write_atomically(layout.metrics("synthesize"), json.dumps(content, indent=2) + "\n")


def _descriptions(settings: Settings, layout: Layout) -> Descriptions | None:
    """The teacher's expressions, if there is one, from all processes; None in all but the first process."""
    if settings.synthesize.teacher is None:
        return Descriptions()
    from vilam.cycle.teacher import describe, undescribed
    from vilam.inference.resolve import resolve_model

    teacher = resolve_model("synthesize.teacher", settings.synthesize.teacher, layout.root, settings.model)
    if launch("synthesize", settings.synthesize, layout.root):
        return None
    records = (_own_expressions(record, settings) for record in read_records(layout.records, TRAIN, images=False))
    return describe(teacher, RecordStore(layout.records, TRAIN), undescribed(records), settings)


def _own_expressions(record: ImageRecord, settings: Settings) -> ImageRecord:
    """The record with its expressions before a teacher adds any."""
    return keep_described(add_rule_expressions(record), settings.synthesize.described_fraction, settings.seed)


def _rendered(folder: Path, card: DatasetCard, descriptions: Descriptions, settings: Settings) -> Iterator[Instruction]:
    tasks = [*TASKS.values(), ACTIVATION]
    num_images = sum(counts["num_images"] for counts in card.counts.values())
    for record in track(read_records(folder, images=False), num_images, "synthesize", "images"):
        described = descriptions.apply(_own_expressions(record, settings))
        yield from render(described, card, tasks, settings.synthesize.expressions_per_region, settings.seed)
        yield from render_groups(described, GROUP_TASKS.values(), settings.seed)


def _some(instructions: Iterable[Instruction], layout: Layout) -> Iterator[Instruction]:
    """The same instructions; raises VilamError at the end if there was none."""
    found = False
    for instruction in instructions:
        found = True
        yield instruction
    if not found:
        raise VilamError(f"{layout.records}: no region to ask about: check prepare's source and splits")


def _counts(table: pd.DataFrame) -> pd.DataFrame:
    """Number of instructions: columns task, split, count."""
    return table.groupby(["task", "split"], sort=False).size().reset_index(name="count")


def _lengths(table: pd.DataFrame) -> pd.DataFrame:
    """Histogram of the lengths of answers, where a number is a word: columns task, num_words, count."""
    lengths = table.assign(num_words=table["answer"].str.count(" ") + 1)
    return lengths.groupby(["task", "num_words"]).size().reset_index(name="count")


def _metrics(table: pd.DataFrame) -> dict[str, Any]:
    """``num_instructions`` by task and split; by split ``num_regions`` and ``described``, their fractions by source."""
    counts = {str(task): by_split["count"] for task, by_split in _counts(table).set_index("split").groupby("task")}
    captions = table[table["task"] == ACTIVATION.name].drop_duplicates(["split", "image_id", "region_id"])
    sources = captions.assign(source=captions["expression_source"].replace("", "none")).groupby("split", sort=False)
    return {
        "num_instructions": {task: {str(k): int(v) for k, v in by_split.items()} for task, by_split in counts.items()},
        "num_regions": {str(split): len(regions) for split, regions in sources},
        "described": {str(split): _fractions(regions["source"]) for split, regions in sources},
    }


def _fractions(names: pd.Series[str]) -> dict[str, float]:
    return {str(name): round(float(fraction), 4) for name, fraction in names.value_counts(normalize=True).items()}
