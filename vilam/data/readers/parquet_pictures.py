"""Pictures inside of Parquet files, which are read when they are used, not with the other columns."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def picture_in(file: Path, group: int, number: int, column: str) -> bytes:
    """The content of the picture in a row of a row group, counted from 0; raises ValueError if there is none.

    A picture is binary, or a struct with ``bytes``, as Hugging Face writes it.
    """
    value = _group(file, group, column)[number].as_py()
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        raise ValueError("no picture in the row")
    return content


@lru_cache(maxsize=2)
def _group(file: Path, group: int, column: str) -> Any:
    """The pictures of a row group; two are kept, since rows are read nearly in order."""
    return pq.ParquetFile(file).read_row_group(group, columns=[column]).column(column)
