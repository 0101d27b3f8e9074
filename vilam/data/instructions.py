"""Instructions, each with question and answer of one task on one region, and their Parquet files.

A folder of instructions holds ``<split>.parquet`` with all tasks of a split, in the order in which they were written,
those of an image together, and ``manifest.json``, written last: if it is there, the folder is complete.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from sys import intern

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vilam.errors import VilamError, first_line
from vilam.files import recover, replace_folder

MANIFEST = "manifest.json"
_ROW_GROUP = 50_000
_REPEATED = frozenset({"task", "split", "image_id", "region_id", "expression", "expression_kind"})
_REPEATED |= {"expression_source", "expression_model"}


@dataclass(frozen=True, slots=True)
class Instruction:
    """A rendered question and answer; coordinates in both are 0-1000 of the image's sides, with decimals.

    region_id: the group's id for a task on a group of regions. template: index of the question template. expression,
    expression_kind and expression_source are those of the expression that the instruction uses ("" if it uses none, as
    in region classification). expression_model, expression_confidence and expression_round_trip_iou are its provenance
    if a model wrote it (see `Provenance`).
    """

    instruction_id: str
    task: str
    split: str
    image_id: str
    region_id: str
    question: str
    answer: str
    template: int
    expression: str = ""
    expression_kind: str = ""
    expression_source: str = ""
    expression_model: str = ""
    expression_confidence: float | None = None
    expression_round_trip_iou: float | None = None


Counts = dict[str, dict[str, int]]
"""Number of instructions by split and task."""
_COLUMNS = tuple(field.name for field in fields(Instruction))
_NUMBERS = {
    "template": pa.int32(),
    "expression_confidence": pa.float64(),
    "expression_round_trip_iou": pa.float64(),
}
_SCHEMA = pa.schema([(name, _NUMBERS.get(name, pa.string())) for name in _COLUMNS])


def write_instructions(folder: Path, instructions: Iterable[Instruction]) -> Counts:
    """Write all splits and then the manifest; an existing folder is replaced only when the new one is complete.

    Returns the number of instructions by split and task. Raises VilamError if the disk is full or not writable.
    """
    with replace_folder(folder) as new:
        counts = _write_splits(new, instructions)
        manifest = json.dumps({"num_instructions": counts}, indent=2, sort_keys=True)
        (new / MANIFEST).write_text(manifest + "\n", encoding="utf-8")
    return counts


def read_instructions(folder: Path, split: str, tasks: Collection[str] | None = None) -> Iterator[Instruction]:
    """Yield the instructions of a split in their order; only those of ``tasks``, if any are named.

    Raises VilamError if the folder is missing, half-written or broken, or has no such split.
    """
    if split not in read_counts(folder):
        raise VilamError(
            f"{folder}: no instructions of the split {split!r}: choose one of {sorted(read_counts(folder))}"
        )
    path = folder / f"{split}.parquet"
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=list(_COLUMNS)):
                rows = zip(*map(_values, batch.schema.names, batch.columns), strict=True)
                yield from (Instruction(*row) for row in rows if tasks is None or row[1] in tasks)
    except (OSError, pa.ArrowException) as error:
        raise _broken(path, error) from None


def read_table(folder: Path) -> pd.DataFrame:
    """All splits as one table with a column for each field of Instruction; raises VilamError if it cannot be read."""
    parts = []
    for split in read_counts(folder):
        path = folder / f"{split}.parquet"
        try:
            parts.append(pd.read_parquet(path))
        except (OSError, pa.ArrowException) as error:
            raise _broken(path, error) from None
    return pd.concat(parts, ignore_index=True)


def read_counts(folder: Path) -> Counts:
    """The number of instructions by split and task; raises VilamError if the folder is missing or half-written."""
    recover(folder)
    path = folder / MANIFEST
    try:
        counts: Counts = json.loads(path.read_text(encoding="utf-8"))["num_instructions"]
    except FileNotFoundError:
        raise VilamError(f"{folder}: no {MANIFEST}, so no whole set of instructions: run synthesize") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(path, error) from None
    return counts


def _write_splits(folder: Path, instructions: Iterable[Instruction]) -> Counts:
    counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    rows, writers = iter(instructions), {}
    with ExitStack() as stack:
        while chunk := list(islice(rows, _ROW_GROUP)):
            frame = pd.DataFrame({name: [getattr(row, name) for row in chunk] for name in _COLUMNS})
            for split, part in frame.groupby("split", sort=False):
                if split not in writers:
                    writers[split] = stack.enter_context(pq.ParquetWriter(folder / f"{split}.parquet", _SCHEMA))
                writers[split].write_table(pa.Table.from_pandas(part, _SCHEMA, preserve_index=False))
                for task, count in part["task"].value_counts().items():
                    counts[str(split)][str(task)] += int(count)
    return {split: dict(by_task) for split, by_task in counts.items()}


def _values(name: str, column: pa.Array) -> list[object]:
    """A column as Python values; repeated strings are stored once, which halves the memory of a split."""
    if pa.types.is_floating(column.type):
        return list(column.to_pylist())  # numpy would turn missing values into NaN
    values: list[object] = column.to_numpy(zero_copy_only=False).tolist()
    return [intern(str(value)) for value in values] if name in _REPEATED else values


def _broken(path: Path, error: Exception) -> VilamError:
    return VilamError(f"{path}: not readable ({first_line(error)}): run synthesize again")
