"""Files of Hugging Face data sets: rows of metadata and Parquet files, pictures in Parquet, names of classes."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from vilam.data.readers.parquet_pictures import picture_in
from vilam.data.readers.paths import head_of, open_text
from vilam.data.readers.source import MALFORMED
from vilam.errors import VilamError, one_line

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
DEPTHS = ("", "*/", "*/*/")
OBJECTS = ("objects", "annotations", "object")
"""Columns that hold objects."""
BOXES = ("bbox", "bboxes", "boxes", "box")
IMAGES = ("image", "img", "picture")
NAMES_IN = ("dataset_info.json", "dataset_infos.json", "README.md")
"""Files that tell the features, beside the schema of Parquet files."""

Row = dict[str, Any]
_ERRORS = (OSError, ValueError, RecursionError, csv.Error, pa.ArrowException)


def files(root: Path) -> list[Path]:
    """Metadata files, or else Parquet files, in a folder or up to two below it."""
    metadata = [path for depth in DEPTHS for name in METADATA for path in sorted(root.glob(depth + name))]
    return metadata or [path for depth in DEPTHS for path in sorted(root.glob(f"{depth}*.parquet"))]


def has_boxes(file: Path) -> bool:
    """Whether the rows of a file have boxes of objects; false for a file that cannot be read."""
    try:
        if file.suffix == ".parquet":
            return _schema_has_boxes(pq.read_schema(file))
        if file.suffix == ".jsonl":
            row = json.loads(head_of(file).partition("\n")[0])
        else:
            row = next(csv.DictReader(head_of(file).splitlines()), {})
    except _ERRORS:
        return False
    return isinstance(row, dict) and any(f'"{name}"' in json.dumps(row).replace("\\", "") for name in BOXES)


def _schema_has_boxes(schema: pa.Schema) -> bool:
    held = [schema.field(name).type for name in OBJECTS if name in schema.names]
    alone = [schema.field(name).type for name in BOXES if name in schema.names]
    inside = any(re.search(rf"\b(?:{'|'.join(BOXES)})\b", str(kind)) for kind in held)
    return inside or any(pa.types.is_list(kind) and pa.types.is_list(kind.value_type) for kind in alone)


def rows(file: Path) -> Iterator[Row]:
    """The rows of a file without the content of pictures; raises VilamError if it cannot be read."""
    try:
        if file.suffix == ".parquet":
            table = pq.ParquetFile(file)
            columns = [path for path in _leaves(table) if not path.endswith(".bytes")]
            for batch in table.iter_batches(columns=columns):
                yield from batch.to_pylist()
        elif file.suffix == ".jsonl":
            with open_text(file, errors="strict") as lines:
                yield from (json.loads(line) for line in lines if line.strip())
        else:
            with open_text(file, newline="", errors="strict") as lines:
                yield from csv.DictReader(lines)
    except _ERRORS as error:
        raise VilamError(f"{file}: cannot be read: {one_line(error)}: download or write it again") from None


def _leaves(table: Any) -> list[str]:
    """The columns of a Parquet file, of structs each field; not those that are pictures alone."""
    schema = table.schema_arrow
    pictures = {name for name in IMAGES if name in schema.names and pa.types.is_binary(schema.field(name).type)}
    leaves = (table.schema.column(number).path for number in range(len(table.schema)))
    return [path for path in dict.fromkeys(leaves) if path not in pictures]


def has_pictures(file: Path) -> bool:
    """Whether a Parquet file holds pictures, and not their paths alone, as Dataset.to_parquet writes them."""
    column = _picture_column(pq.read_schema(file)) if file.suffix == ".parquet" else None
    if column is None:
        return False
    try:
        return not _are_empty(pq.read_metadata(file), (column, f"{column}.bytes"))
    except ValueError as error:
        raise VilamError(f"{file}: cannot be read: {error}: download or write it again") from None


def _are_empty(metadata: Any, columns: Sequence[str]) -> bool:
    """Whether all values of the first of these columns are null, as a Parquet file's statistics tell.

    Raises ValueError for a damaged footer: pyarrow 25 ends the process when it reads statistics of another type.
    """
    place = next(number for number in range(metadata.num_columns) if metadata.schema.column(number).path in columns)
    kind = metadata.schema.column(place).physical_type
    chunks = [metadata.row_group(group).column(place) for group in range(metadata.num_row_groups)]
    if any(chunk.physical_type != kind for chunk in chunks):
        raise ValueError("its footer is damaged")
    return all(chunk.statistics and chunk.statistics.null_count == chunk.num_values for chunk in chunks)


def _picture_column(schema: pa.Schema) -> str | None:
    for name in IMAGES:
        kind = schema.field(name).type if name in schema.names else None
        if kind is not None and (pa.types.is_binary(kind) or "bytes: binary" in str(kind)):
            return name
    return None


def picture(file: Path, number: int) -> bytes:
    """The content of the picture in a row of a Parquet file, counted from 0; raises ValueError if there is none."""
    metadata = pq.read_metadata(file)
    group, first = 0, 0
    while number >= first + metadata.row_group(group).num_rows:
        first += metadata.row_group(group).num_rows
        group += 1
    return picture_in(file, group, number - first, _column(file))


@lru_cache(maxsize=1)
def _column(file: Path) -> str:
    """The column of a file's pictures; raises ValueError if there is none."""
    column = _picture_column(pq.read_schema(file))
    if column is None:
        raise ValueError("no picture in the file")
    return column


def class_names(root: Path, own: Iterable[Path]) -> list[str]:
    """The names of the objects' classes that the features tell; [] if none do."""
    for features in _features(root, own):
        objects = _named(features, OBJECTS)
        if found := _names(features if objects is None else objects):
            return found
    return []


def _features(root: Path, own: Iterable[Path]) -> Iterator[Any]:
    for file in dict.fromkeys(own):
        if file.suffix == ".parquet":
            yield _features_of_schema(file)
    for path in (path for depth in DEPTHS[:2] for name in NAMES_IN for path in sorted(root.glob(depth + name))):
        try:
            text = open_text(path).read()
            front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
            yield json.loads(text) if path.suffix == ".json" else yaml.safe_load(front[1]) if front else {}
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            continue


def _features_of_schema(file: Path) -> Any:
    told = (pq.read_schema(file).metadata or {}).get(b"huggingface", b"{}")
    try:
        return json.loads(told).get("info", {}).get("features", {})
    except MALFORMED:
        return {}


def _named(features: Any, names: Sequence[str]) -> Any:
    """The part of features that describes a column: a value by name, or a row that has the name (in README.md)."""
    if isinstance(features, dict):
        if features.get("name") in names:
            return features
        return next((features[name] for name in names if name in features), None) or _inside(features.values(), names)
    return _inside(features, names) if isinstance(features, list) else None


def _inside(parts: Iterable[Any], names: Sequence[str]) -> Any:
    return next((found for part in parts if (found := _named(part, names)) is not None), None)


def _names(features: Any) -> list[str]:
    """The first list of names in a part of features: a ClassLabel, or class_label with names by number."""
    if isinstance(features, dict):
        told = features.get("names") if features.get("_type") == "ClassLabel" else None
        told = features["class_label"].get("names") if isinstance(features.get("class_label"), dict) else told
        if isinstance(told, dict):
            return [str(told[key]) for key in sorted(told, key=int)]
        if isinstance(told, list):
            return [str(name) for name in told]
        return next((found for part in features.values() if (found := _names(part))), [])
    return next((found for part in features if (found := _names(part))), []) if isinstance(features, list) else []
