"""CSV or TSV with a row for each box, as of Roboflow, TensorFlow's tutorials and keras-retinanet.

Columns are told by their heads (csv_columns.py). Where the numbers of a box may be a corner and sides, two corners, or
a centre and sides, the pictures tell; where they do not, the set is refused, and a recipe must. Boxes of which all
numbers are 1 at most are fractions of the sides. A row without a box is a picture without objects; a picture that no
row names is no part of the set. A table of names and numbers beside keras-retinanet's rows gives the order of classes.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from vilam.data.readers.box_order import best_orders
from vilam.data.readers.csv_columns import SUFFIXES, Columns, columns_of, heads_of
from vilam.data.readers.formats import LIKELY, POSSIBLE, Format, Found
from vilam.data.readers.gathering import Gathering, Key
from vilam.data.readers.images import size_of
from vilam.data.readers.items import source_of
from vilam.data.readers.kept import KeptList
from vilam.data.readers.paths import files_of, literal, open_text
from vilam.data.readers.row_files import split_of_file
from vilam.data.readers.source import ALL, MALFORMED, Source, wrong
from vilam.data.readers.table import NUMBER
from vilam.data.recipes import FormatReader, Recipe
from vilam.errors import VilamError
from vilam.geometry.boxes import TO_XYXY, Box, BoxOrder

logger = logging.getLogger(__name__)

DEPTHS = ("", "*/", "*/*/")
LOOKED_AT = 50
"""Tables of a folder that are looked at, at most."""
SAMPLE = 2000
"""Boxes that are held against their pictures, at most."""
NOTHING = ("", "[]")
"""What stands for a box in a row of a picture without objects."""

Row = tuple[int, list[str]]
"""The number of its line, and its fields."""
Placed = tuple[Key, str, Box, str]
"""A box: the key of its picture, its category, its numbers in the order of the file, its location."""


def recognises(root: Path) -> Found | None:
    """A CSV or TSV file with the columns of boxes, in a folder or up to two below it, or such a file itself."""
    for file in [root] if root.is_file() else islice(_tables(root), LOOKED_AT):
        if columns := columns_of(file):
            files = {split_of_file(file): literal(file.name)} if root.is_file() else None
            title = "CSV of boxes" if columns.has_heads else "CSV of boxes (keras-retinanet)"
            sureness = LIKELY if len(columns.orders) == 1 else POSSIBLE
            folder = file.parent if root.is_file() else root
            return Found(title, FormatReader(kind="csv", files=files), folder, sureness)
    return None


def open_csv(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read all rows; the pictures are read one by one as the rows are iterated.

    Raises VilamError if what the numbers of boxes are cannot be told.
    """
    gathering = Gathering(root, reader)
    usual = filter(columns_of, _tables(root))
    files = [(split_of_file(file) if split == ALL else split, file) for split, file in files_of(root, reader, usual)]
    known: set[str] = set()
    for split, file in sorted(files, key=lambda one: one[0] == ALL):
        columns = columns_of(file)
        if columns is None:
            raise VilamError(f"{file}: {advice(file)}")
        _add(gathering, file, columns, KeptList(_placed(gathering, split, file, columns, known)))
    return source_of(gathering.listing(_class_names(root)), recipe, reader.together, reader.window)


def advice(path: Path) -> str:
    """Which columns a table has that is no format, and how to write a recipe; "" if there is no table."""
    for file in [path] if path.is_file() else _tables(path):
        _, heads = heads_of(file)
        if len(heads) > 1:
            told = ", ".join(heads)[:200]
            return f"{file.name} has the columns {told}: {_recipe(file, '...', '[..., ..., ..., ...]')}"
    return ""


def _recipe(file: Path, image: str, box: str) -> str:
    columns = f"{{image: {image}, box: {box}, category: ...}}"
    reader = f"{{kind: table, files: {{all: {file.name}}}, columns: {columns}, box: ..., images: images/{{image}}}}"
    return f"write a recipe with reader: {reader} and box xyxy, xywh or cxcywh (docs/datasets.md)"


def _tables(root: Path) -> list[Path]:
    found = (path for depth in DEPTHS for path in sorted(root.glob(f"{depth}*")))
    return [path for path in found if path.suffix.lower() in SUFFIXES and path.is_file() and path.name[0] != "."]


def _rows(file: Path, separator: str) -> Iterator[Row]:
    try:
        with open_text(file, newline="") as lines:
            yield from (
                (number, row) for number, row in enumerate(csv.reader(lines, delimiter=separator), 1) if any(row)
            )
    except (OSError, csv.Error) as error:
        raise VilamError(f"{file}: not readable as CSV: {error}: write it again") from None


def _placed(gathering: Gathering, split: str, file: Path, columns: Columns, known: set[str]) -> Iterator[Placed]:
    """The boxes of a table; pictures without boxes are gathered too.

    known: names of pictures in the tables of a split, which a table of all pictures names again.
    """
    for number, row in _rows(file, columns.separator):
        if number == 1 and columns.has_heads:
            continue
        own, location = split, f"line {number}"
        try:
            name, category = row[columns.image], row[columns.category].strip()
            own = (columns.split is not None and row[columns.split].strip()) or split
            if own == ALL and name in known:
                continue
            if own != ALL:
                known.add(name)
            draft = gathering.picture(file, own, name, str(file))
            draft.marked = None
            draft.size = draft.size or _size(row, columns)
            text = " ".join(row[one] for one in columns.box).strip()
            if text not in NOTHING:
                yield draft.key, category, _numbers(text, category), location
        except MALFORMED as error:
            gathering.problem(own, f"{file}: {location}", wrong(error))


def _numbers(text: str, category: str) -> Box:
    numbers = [float(one) for one in NUMBER.findall(text)]
    if len(numbers) != 4 or not category:
        raise ValueError(f"box {text[:60]!r}: expected four numbers and a class")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _size(row: Sequence[str], columns: Columns) -> tuple[int, int] | None:
    sides = [row[one].strip() for one in columns.sides or ()]
    return (int(sides[0]), int(sides[1])) if sides and all(map(str.isdecimal, sides)) else None


def _add(gathering: Gathering, file: Path, columns: Columns, placed: KeptList[Placed]) -> None:
    """Add the boxes of a table to their pictures."""
    is_fractions = all(max(numbers) <= 1 for _, _, numbers, _ in placed)
    convert = TO_XYXY[_order(gathering, file, columns, placed, is_fractions)]
    for key, category, numbers, location in placed:
        draft = gathering.again(key)
        draft.whole = 1.0 if is_fractions else None
        draft.add(convert(numbers), category, location=location)


def _order(
    gathering: Gathering, file: Path, columns: Columns, placed: KeptList[Placed], is_fractions: bool
) -> BoxOrder:
    """What the numbers of boxes are, by the heads or by the pictures; raises VilamError if neither tells."""
    if len(columns.orders) == 1 or not len(placed):
        return columns.orders[0]
    sample = (placed[number] for number in range(0, len(placed), -(-len(placed) // SAMPLE)))
    sized = [
        (numbers, (1, 1) if is_fractions else size_of(gathering.again(key).image)) for key, _, numbers, _ in sample
    ]
    best = best_orders([(numbers, size) for numbers, size in sized if size], columns.orders)
    if len(best) == 1:
        logger.info("%s: boxes are read as %s, as they lie in their pictures", file, best[0])
        return best[0]
    heads = heads_of(file)[1]
    box = f"[{', '.join(heads[one] for one in columns.box)}]"
    told = f"boxes may be {' or '.join(best)}" if best else f"boxes are none of {', '.join(columns.orders)}"
    raise VilamError(f"{file}: {told}: {_recipe(file, heads[columns.image], box)}")


def _class_names(root: Path) -> list[str]:
    """The names in a table of names and numbers from 0, as keras-retinanet has it, in the order of the numbers."""
    for file in _tables(root):
        rows = [row for _, row in _rows(file, ",")] if len(heads_of(file)[1]) == 2 else []
        names = {int(row[1]): row[0].strip() for row in rows if len(row) == 2 and row[1].strip().isdecimal()}
        if rows and sorted(names) == [*range(len(rows))]:
            return [names[number] for number in range(len(rows))]
    return []


FORMAT = Format(
    "csv",
    "CSV of boxes (Roboflow, TensorFlow, keras-retinanet)",
    "*.csv or *.tsv with columns such as filename, class, xmin, ymin, xmax, ymax, or path, x1, y1, x2, y2, class "
    "without heads; the pictures beside it or in images; folders or files may be named train, valid and test",
    "boxes, classes, splits of files, folders and a column split, pictures without objects that have a row",
    "other columns",
    recognises,
    open_csv,
)
