"""Opens data sets in tests: by the project's recipes, or by readers with the options of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from vilam.data.readers import Problem, RawRecord, Source, open_files
from vilam.data.recipes import Recipe, read_recipe
from vilam.data.records import ImageRecord

PROJECT = Path(__file__).parents[1]
TEXTS = {"title": "A set", "home": "here", "licence": "CC0", "layout": "any", "splits": "any", "leakage": "none"}


def recipe(reader: str | dict[str, Any]) -> Recipe:
    """A recipe of the project by name, or one with a reader with these options."""
    if isinstance(reader, str):
        return read_recipe(reader, PROJECT)
    return Recipe.model_validate({"name": "set", **TEXTS, "reader": reader})


def opened(reader: str | dict[str, Any], root: Path) -> Source:
    """The data set in a folder."""
    return open_files(recipe(reader), root)


def read(reader: str | dict[str, Any], root: Path) -> tuple[list[ImageRecord], list[str]]:
    """Its records, and its problems as ``location: message`` without the root."""
    rows = list(opened(reader, root).rows)
    problems = [f"{row.location}: {row.message}".replace(f"{root}/", "") for row in rows if isinstance(row, Problem)]
    return [row.record for row in rows if isinstance(row, RawRecord)], problems


def write_image(path: Path, size: tuple[int, int] = (40, 30), colour: int = 0) -> Path:
    """Write an image of one colour and a size (width, height), in the format of the suffix; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 0, 0)).save(path)
    return path
