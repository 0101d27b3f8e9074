"""Tables (CSV, TSV): a row for each object, with its image's name, its box, and its category or expression.

All rows of an image make one record. A row without a box is an image without objects, as in the files of challenges.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pandas as pd

from vilam.data.readers.dividing import of_recipe
from vilam.data.readers.images import read_image
from vilam.data.readers.naming import picture_ids, without_suffix
from vilam.data.readers.paths import encoding_of
from vilam.data.readers.source import Problem, RawRecord, Source, split_of, split_order, tidy
from vilam.data.recipes import Recipe, TableReader
from vilam.data.records import Expression, ImageRecord, Region
from vilam.errors import VilamError, one_line
from vilam.geometry.boxes import TO_XYXY

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")

Box = tuple[float, float, float, float]
Row = dict[str, str]


@dataclass(slots=True)
class _Image:
    """An image of one split of the recipe and its rows, each with its location."""

    split: str
    location: str
    name: str
    rows: list[tuple[str, Row]] = field(default_factory=list)


def open_table(root: Path, recipe: Recipe, reader: TableReader) -> Source:
    """Read the tables and group their rows; the images are read one by one as the rows are iterated."""
    problems: list[Problem] = []
    images = list(_grouped(root, reader, problems))
    if not images:
        first = f": {problems[0].location}: {problems[0].message}" if problems else ""
        raise VilamError(f"{root}: no rows in {', '.join(reader.files.values())}{first}")
    found = {_category(row, reader) for image in images for _, row in image.rows}
    names = [without_suffix(image.name) for image in images]
    own = of_recipe([(image.split, name) for image, name in zip(images, names, strict=True)], reader.together)
    ids = picture_ids([image.name for image in images], own)
    listed = sorted(zip(own, ids, images, strict=True), key=lambda one: split_order(one[0]))
    rows = (row for split, image_id, image in listed for row in _rows(root, recipe, reader, image, image_id, split))
    splits = tuple(dict.fromkeys(split for split, _, _ in listed))
    categories = tuple(sorted(name for name in found if name))
    return Source(recipe.name, categories, {}, splits, (recipe.licence,), len(images), chain(problems, rows))


def _grouped(root: Path, reader: TableReader, problems: list[Problem]) -> Iterator[_Image]:
    images: dict[tuple[str, str], _Image] = {}
    for file_split, name in reader.files.items():
        path = root / name
        for number, row in enumerate(_read(path, reader), start=2):
            location, image = f"{path}: line {number}", row[reader.columns.image].strip()
            split = _split(file_split, row, reader)
            if not image or split is None:
                message = "no image is named" if not image else f"unknown split {row[str(reader.columns.split)]!r}"
                problems.append(Problem(split_of(location, file_split), location, message))
                continue
            images.setdefault((split, image), _Image(split, location, image)).rows.append((location, row))
    yield from images.values()


def _read(path: Path, reader: TableReader) -> list[Row]:
    columns = reader.columns
    wanted = [columns.image, *columns.box, columns.category, columns.expression, columns.split]
    return read_table(path, reader.separator, [name for name in wanted if name is not None])


def read_table(path: Path, separator: str, columns: Sequence[str]) -> list[Row]:
    """The rows, all values as text; raises VilamError if the file or a column is missing."""
    try:
        frame = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding=encoding_of(path))
    except FileNotFoundError:
        raise VilamError(f"{path}: not found: check prepare.root and the recipe's files") from None
    except (ValueError, OSError) as error:
        raise VilamError(f"{path}: not readable as a table: {one_line(error)}") from None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise VilamError(f"{path}: no column {', '.join(missing)}: it has {', '.join(map(str, frame.columns))}")
    return [{str(name): str(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _split(file_split: str, row: Row, reader: TableReader) -> str | None:
    if reader.columns.split is None:
        return file_split
    return renamed(row[reader.columns.split].strip(), reader.split_names)


def _category(row: Row, reader: TableReader) -> str | None:
    """The category of a row's object; None if the recipe's categories leave it out."""
    if reader.columns.category is None:
        return reader.category
    value = row[reader.columns.category].strip()
    return renamed(value, reader.categories)


def renamed(value: str, names: Mapping[str, str] | None) -> str | None:
    """The recipe's name of a column's value; None if the recipe does not name the value, or the value is empty."""
    return (names.get(value) if names else value) or None


def _rows(
    root: Path, recipe: Recipe, reader: TableReader, image: _Image, image_id: str, split: str
) -> Iterator[RawRecord | Problem]:
    try:
        content, width, height = read_image(_path(root, reader, image.name), reader.window)
    except OSError as error:
        yield Problem(split, image.location, f"image {image.name}: {error}")
        return
    regions: dict[tuple[Box, str], Region] = {}
    for location, row in image.rows:
        try:
            region = _region(f"{image_id}_{len(regions)}", row, reader, (width, height))
        except ValueError as error:
            yield Problem(split, location, str(error))
            continue
        if region is not None:
            key = region.box_xyxy, region.category
            regions[key] = _merged(regions[key], region) if key in regions else region
    facts = recipe.name, recipe.licence, (), tuple(regions.values())
    record = ImageRecord(image_id, split, content, width, height, *facts)
    yield RawRecord(record, image.location)


def _path(root: Path, reader: TableReader, name: str) -> Path:
    """The image's file; the pattern may hold wildcards."""
    own = re.sub(*reader.rename, name) if reader.rename else name
    path = reader.images.format(image=own)
    pattern = Path(reader.images.format(image=glob.escape(own)))
    folder = Path(pattern.anchor) if pattern.is_absolute() else root
    try:
        found = sorted(folder.glob(str(pattern.relative_to(pattern.anchor))))
    except ValueError as error:  # ** beside other characters
        raise OSError(f"{path}: {error}") from None
    if not found:
        raise OSError(f"no file {path}")
    return found[0]


def _region(region_id: str, row: Row, reader: TableReader, size: tuple[int, int]) -> Region | None:
    """A row's object; None if it has no box, or a category that the recipe leaves out."""
    category = _category(row, reader)
    text = " ".join(row[name] for name in reader.columns.box)
    if category is None or not text.strip():
        return None
    numbers = [float(number) for number in NUMBER.findall(text)]
    if len(numbers) != 4:
        raise ValueError(f"box {text!r}: not four numbers")
    width, height = size if reader.unit == "fractions" else (1, 1)
    x1, y1, x2, y2 = TO_XYXY[reader.box](numbers)
    expression = tidy(row[reader.columns.expression]) if reader.columns.expression else ""
    box = (x1 * width, y1 * height, x2 * width, y2 * height)
    return Region(region_id, box, category, expressions=(Expression(expression),) if expression else ())


def _merged(before: Region, after: Region) -> Region:
    """One region with the expressions of both."""
    expressions = tuple(dict.fromkeys([*before.expressions, *after.expressions]))
    return Region(before.region_id, before.box_xyxy, before.category, expressions=expressions)
