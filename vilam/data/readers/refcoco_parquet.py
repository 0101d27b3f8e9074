"""Parquet files of RefCOCO's regions (lmms-lab/RefCOCO); images are read when they are used, not with the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vilam.data.readers.parquet_pictures import picture_in
from vilam.errors import VilamError, one_line

COLUMNS = {"image", "bbox", "answer", "file_name", "question_id"}
"""Columns that every file has."""


def parquet_files(root: Path) -> list[Path]:
    """The Parquet files of regions in a root or its data folder."""
    paths = sorted(root.glob("data/*.parquet")) or sorted(root.glob("*.parquet"))
    return [path for path in paths if {*_columns(path)} >= COLUMNS]


def parquet_set(root: Path) -> str:
    """The set whose files are in a root, by the root's name: its own rows do not tell."""
    name = root.resolve().name.lower()
    if "refcoco+" in name or "plus" in name:
        return "refcoco+"
    return "refcocog" if "refcocog" in name else "refcoco"


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file; ``content`` reads the image of a row. Raises VilamError if the file cannot be read."""
    try:
        file = pq.ParquetFile(path)
        columns = [name for name in _columns(path) if name != "image"]
        for group in range(file.num_row_groups):
            for number, row in enumerate(file.read_row_group(group, columns=columns).to_pylist()):
                content: Callable[[], bytes] = partial(picture_in, path, group, number, "image")
                yield {**row, "content": content}
    except (OSError, ValueError, pa.ArrowException) as error:
        raise VilamError(f"{path}: cannot be read: {one_line(error)}") from None


def _columns(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (OSError, ValueError, pa.ArrowException):
        return []
