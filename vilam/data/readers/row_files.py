"""Files of rows, as trainers write them: JSON Lines, or one JSON list; with the split that their names tell."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from vilam.data.readers.dividing import NAMES
from vilam.data.readers.formats import LIKELY, Found
from vilam.data.readers.json_parts import parts_of
from vilam.data.readers.paths import head_of, named_files, open_text, place_of
from vilam.data.readers.source import ALL, Problem, read_json, whole_characters
from vilam.data.recipes import FormatName, FormatReader
from vilam.errors import VilamError, one_line

Row = dict[str, Any]

HEAD = 1 << 18
"""Bytes of a file that tell its format, at most."""
FEW = 50
"""Files of a folder, and rows of a file, that tell its format, at most."""
PATTERNS = ("*.json", "*.jsonl", "*/*.json", "*/*.jsonl", "*/*/*.json", "*/*/*.jsonl")
HALF = "\\ud"
"""How JSON begins one half of a character that takes two."""
WORD = re.compile(r"[a-z]+")


def row_files(root: Path) -> list[Path]:
    """The JSON files in a folder and two folders deep."""
    found = {path for pattern in PATTERNS for path in root.glob(pattern)}
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def head_rows(path: Path) -> Iterator[Row]:
    """The first rows of a file, whether it holds a row in each line or a list; none if it is another file."""
    decoder = json.JSONDecoder()
    try:
        text = head_of(path, HEAD).lstrip()
        text = text[1:] if text.startswith("[") else text
        while text := text.lstrip(" \t\r\n,"):
            row, end = decoder.raw_decode(text)
            if not isinstance(row, dict):
                return
            yield row
            text = text[end:]
    except (OSError, ValueError, RecursionError):
        return


def read_rows(path: Path) -> Iterator[tuple[str, Row | Problem]]:
    """Location and content of each row; raises VilamError if the file cannot be read."""
    if path.suffix == ".jsonl" or _is_lines(path):
        yield from _lines(path)
        return
    for number, row in enumerate(listed(path), start=1):
        location = f"{path}, row {number}"
        yield location, row if isinstance(row, dict) else Problem("", location, "expected an object with names")


def listed(path: Path) -> Iterator[Any]:
    """The rows of a file that is a list, one by one, or the only row that it is."""
    try:
        for part in parts_of(path):
            if part.name or not (part.is_row or part.value == []):
                yield _whole_characters(read_json(path))
                return
            if part.is_row:
                yield _whole_characters(part.value) if HALF in part.text.lower() else part.value
    except RecursionError:
        raise VilamError(f"{path}: lists in lists too deep to be read: check prepare.root") from None


def _is_lines(path: Path) -> bool:
    try:
        with open_text(path) as file:
            return isinstance(json.loads(file.readline(HEAD)), dict)
    except (OSError, ValueError, RecursionError):
        return False


def _lines(path: Path) -> Iterator[tuple[str, Row | Problem]]:
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _line(line, f"{path}, line {number}")
    except OSError as error:
        raise VilamError(f"{path}: {error.strerror}: check prepare.root") from None


def _line(line: str, location: str) -> tuple[str, Row | Problem]:
    try:
        row = json.loads(line)
        row = _whole_characters(row) if HALF in line.lower() else row
    except (ValueError, RecursionError) as error:
        return location, Problem("", location, f"not JSON: {one_line(error)}")
    return location, row if isinstance(row, dict) else Problem("", location, "expected an object with names")


def _whole_characters(content: Any) -> Any:
    """The same with `whole_characters` in all texts."""
    if isinstance(content, str):
        return whole_characters(content)
    if isinstance(content, list):
        return [_whole_characters(one) for one in content]
    if isinstance(content, dict):
        return {_whole_characters(key): _whole_characters(value) for key, value in content.items()}
    return content


def split_of_file(path: Path) -> str:
    """The split that the name of a file or of its folder tells, such as train_odvg.jsonl; else `ALL`."""
    for text in (path.stem, path.parent.name):
        for word in WORD.findall(text.lower()):
            if re.fullmatch("test[ab]", word):
                return f"test{word[-1].upper()}"
            if len(word) > 2 and (split := next((one for one, names in NAMES.items() if word in names), "")):
                return split
    return ALL


def annotation_files(root: Path, reader: FormatReader, is_own: Callable[[Row], bool]) -> list[tuple[str, Path]]:
    """The files of a format with their splits: those that the reader names, or all whose first rows are its own.

    Raises VilamError if there are none.
    """
    if reader.files is not None:
        named = named_files(root, reader.files)
        if not named:
            raise VilamError(f"{root}: no file {', '.join(reader.files.values())}: check reader.files")
        return named
    found = [(split_of_file(path), path) for path in row_files(root) if _has(path, is_own)]
    if not found:
        raise VilamError(f"{root}: no file with rows of {reader.kind}: check prepare.root, or name reader.files")
    return found


def recognised(root: Path, kind: FormatName, title: str, is_own: Callable[[Row], bool]) -> Found | None:
    """A folder with a file of rows of a format, or such a file itself."""
    if root.is_file():
        if root.suffix not in (".json", ".jsonl") or not _has(root, is_own):
            return None
        folder, pattern = place_of(root)
        return Found(title, FormatReader(kind=kind, files={split_of_file(root): pattern}), folder, LIKELY)
    if any(_has(path, is_own) for path in row_files(root)[:FEW]):
        return Found(title, FormatReader(kind=kind), root, LIKELY)
    return None


def _has(path: Path, is_own: Callable[[Row], bool]) -> bool:
    return any(is_own(row) for row in islice(head_rows(path), FEW))
