"""Rows of a picture with a question and an answer, ``image``, ``prefix`` and ``suffix``, as Roboflow exports them.

PaliGemma's and Florence-2's rows differ in the tokens of their answers alone: files are ``_annotations.train.jsonl``
beside the images, or ``train/annotations.jsonl``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vilam.data.readers.gathering import Gathering, Key
from vilam.data.readers.kept import KeptList
from vilam.data.readers.row_files import Row, annotation_files, read_rows
from vilam.data.readers.source import Problem
from vilam.data.recipes import FormatReader

Pair = tuple[Key, str, str, str]
"""The key of a picture, the question, the answer, and their location."""


def pair_of(row: Row) -> tuple[str, str] | None:
    """The question and the answer of a row; None if it is another row."""
    prefix, suffix = row.get("prefix"), row.get("suffix")
    return (prefix, suffix) if isinstance(prefix, str) and isinstance(suffix, str) else None


def read_pairs(
    root: Path, reader: FormatReader, is_own: Callable[[Row], bool], matters: Callable[[str, str], bool]
) -> tuple[Gathering, KeptList[Pair]]:
    """All rows that matter for grounding, by their question and answer; raises VilamError if no file has such rows."""
    gathering, pairs = Gathering(root, reader), KeptList[Pair]()
    for split, path in annotation_files(root, reader, is_own):
        for location, row in read_rows(path):
            pair = None if isinstance(row, Problem) else pair_of(row)
            if isinstance(row, Problem) or pair is None:
                message = row.message if isinstance(row, Problem) else "expected image, prefix and suffix"
                gathering.problem(split, location, message)
                continue
            if not matters(*pair):
                continue
            try:
                name = row.get("image") or row.get("image_path")
                pairs.append((gathering.picture(path, split, name, location).key, *pair, location))
            except ValueError as error:
                gathering.problem(split, location, str(error))
    return gathering, pairs
