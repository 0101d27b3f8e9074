"""Open Images V4 to V7: SPLIT-annotations-bbox.csv, class-descriptions-boxable.csv, pictures by split.

A row is a box in fractions of the sides, in the order XMin, XMax, YMin, YMax, of a category by its machine's id. A box
of a group (IsGroupOf) is no single object: its category is unmarked. Of a picture only those categories are known that
have boxes, and those that people verified to be absent (confidence 0 in SPLIT-annotations-human-imagelabels.csv); all
others are unmarked. A picture that no row names is no part of the set; rows of pictures that are not here are counted.
FiftyOne's layout (SPLIT/labels/detections.csv, SPLIT/metadata/classes.csv, SPLIT/data) is read too.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from vilam.data.kinds import MISSING
from vilam.data.readers.dividing import split_of_folders, usual
from vilam.data.readers.formats import CLEAR, Format, Found
from vilam.data.readers.items import Item, Listing, Shape, source_of
from vilam.data.readers.openimages_masks import COLUMNS, box_of, number_of, with_masks
from vilam.data.readers.paths import files_of, head_of, images_below, open_text, place_of, stem_path, under
from vilam.data.readers.source import ALL, MALFORMED, Problem, Source, wrong
from vilam.data.recipes import FormatReader, Recipe
from vilam.errors import VilamError

logger = logging.getLogger(__name__)

BOXES = {"ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"}
"""Columns of a file of boxes."""
LABELS = {"ImageID", "LabelName", "Confidence"}
"""Columns of a file of labels of whole pictures."""
MACHINE = "machine"
"""In the name of a file of labels that nobody verified."""
DEPTHS = ("*.csv", "*/*.csv", "*/*/*.csv")

Key = tuple[str, str]
"""The split and the id of a picture."""


@dataclass(slots=True)
class _Marks:
    """What rows say of a picture: its boxes, and categories by id that are groups, or known to be absent; masks by the
    number of their box."""

    location: str
    shapes: list[Shape | Problem] = field(default_factory=list)
    groups: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    marked: set[str] = field(default_factory=set)
    masks: dict[int, Path] = field(default_factory=dict)


def recognises(root: Path) -> Found | None:
    """A CSV file with the columns of Open Images' boxes, in a folder or up to two below it, or such a file itself."""
    if root.is_file():
        folder, pattern = place_of(root)
        reader = FormatReader(kind="openimages", files={ALL: pattern})
        return Found("Open Images", reader, folder, CLEAR) if _columns(root) >= BOXES else None
    if root.is_dir() and any(_columns(path) >= BOXES for path in _tables(root)):
        return Found("Open Images", FormatReader(kind="openimages"), root, CLEAR)
    return None


def open_openimages(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read the rows of the pictures that are here, which are read one by one as the rows are iterated."""
    tables = list(_tables(root))
    names = _class_names(tables)
    pictures: dict[str, list[Path]] = {}
    for path in images_below(root):
        pictures.setdefault(stem_path(path, "").name, []).append(path)
    marks: dict[Path, _Marks] = {}
    problems: list[Problem] = []
    splits: dict[Path, str] = {}
    boxes = [path for path in tables if _columns(path) >= BOXES]
    labels = [path for path in tables if _columns(path) >= LABELS and path not in boxes and MACHINE not in path.name]
    for told, file in [*files_of(root, reader, boxes), *((ALL, path) for path in labels)]:
        split, missing = _split(root, file) if told == ALL else told, set()
        for number, row in enumerate(_rows(file), start=2):
            try:
                picture = _picture(pictures.get(_id(row), []), root, split)
                if picture is None:
                    missing.add(row["ImageID"])
                    continue
                _mark(marks.setdefault(picture, _Marks(f"{file}: image {row['ImageID']}")), row, names, number)
                splits.setdefault(picture, split)
            except MALFORMED as error:
                problems.append(Problem(split, f"{file}: row {number}", wrong(error)))
        if missing and file in boxes:
            message = f"{len(missing)} images not found, the first: {min(missing, key=str)}"
            problems.append(Problem(split, str(file), message, MISSING))
    for file in (path for path in tables if _columns(path) >= COLUMNS):
        _find_masks(file, _split(root, file), marks, pictures, root, names)
    categories = list(dict.fromkeys(name for one in marks.values() for name in sorted(one.marked | one.groups)))
    items = [
        Item(
            path,
            under(root, path),
            splits[path],
            one.location,
            partial(with_masks, one.shapes, one.masks),
            whole=1,
            unmarked=_unmarked(one, categories),
        )
        for path, one in marks.items()
    ]
    return source_of(Listing(items, categories, problems=problems), recipe, reader.together, reader.window)


def _find_masks(
    file: Path,
    split: str,
    marks: Mapping[Path, _Marks],
    pictures: Mapping[str, list[Path]],
    root: Path,
    names: Mapping[str, str],
) -> None:
    """Give the masks of a file to their boxes, and say how many have none, or are not here."""
    lost = 0
    for row in _rows(file):
        picture = _picture(pictures.get(_id(row), []), root, split)
        if picture is None or picture not in marks:
            continue
        shapes, name = marks[picture].shapes, names.get(row["LabelName"], row["LabelName"])
        mask = next(iter(pictures.get(stem_path(Path(row["MaskPath"]), "").name, [])), None)
        try:
            number = number_of(shapes, name, box_of(row))
        except ValueError:
            number = None
        if mask is None or number is None:
            lost += 1
        else:
            marks[picture].masks[number] = mask
    if lost:
        logger.warning("%s: %d masks of pictures that are here have no PNG or no box, and are left out", file, lost)


def _tables(root: Path) -> Iterator[Path]:
    return (path for pattern in DEPTHS for path in sorted(root.glob(pattern)))


def _columns(file: Path) -> set[str]:
    return {name.strip() for name in head_of(file).partition("\n")[0].split(",")}


def _rows(file: Path) -> Iterator[dict[str, str]]:
    try:
        with open_text(file, newline="") as lines:
            heads = [name.strip() for name in next(csv.reader(lines), [])]
            yield from csv.DictReader(lines, heads, restval="")
    except (OSError, csv.Error) as error:
        raise VilamError(f"{file}: not readable as CSV: {error}: download it again") from None


def _class_names(tables: list[Path]) -> dict[str, str]:
    """Names by id, of tables with two columns; V6 and later begin with a line of heads."""
    names: dict[str, str] = {}
    for path in tables:
        if head_of(path).startswith(("/m/", "/g/", "/t/", "LabelName,DisplayName")):
            with open_text(path, newline="") as lines:
                names.update((row[0], row[1]) for row in csv.reader(lines) if len(row) == 2)
    return names


def _split(root: Path, file: Path) -> str:
    return next(filter(None, map(usual, file.stem.split("-"))), split_of_folders(under(root, file)))


def _id(row: Mapping[str, str]) -> str:
    """The id of a row's picture: its name without folders and suffix."""
    return stem_path(Path(row["ImageID"]), "").name


def _picture(found: list[Path], root: Path, split: str) -> Path | None:
    """The picture of an id: of several, the one in a folder of its split, such as train, or train_0."""
    if len(found) < 2:
        return next(iter(found), None)
    own = (path for path in found if split_of_folders(under(root, path)) == split)
    return next(own, found[0])


def _mark(marks: _Marks, row: dict[str, str], names: dict[str, str], number: int) -> None:
    name, location = names.get(row["LabelName"], row["LabelName"]), f"row {number}"
    if "XMin" not in row:
        if float(row["Confidence"] or 1) == 0:
            marks.absent.add(name)
        return
    if row.get("IsGroupOf") == "1":
        marks.groups.add(name)
        return
    marks.marked.add(name)
    try:
        x1, x2, y1, y2 = (float(row[key]) for key in ("XMin", "XMax", "YMin", "YMax"))
        marks.shapes.append(Shape(name, (x1, y1, x2, y2), location=location))
    except MALFORMED as error:
        marks.shapes.append(Problem("", location, f"box: {wrong(error)}", category=name))


def _unmarked(marks: _Marks, categories: list[str]) -> tuple[str, ...]:
    known = (marks.marked | marks.absent) - marks.groups
    return tuple(name for name in categories if name not in known)


FORMAT = Format(
    "openimages",
    "Open Images",
    "SPLIT-annotations-bbox.csv, class-descriptions-boxable.csv, SPLIT/*.jpg; "
    "SPLIT-annotations-object-segmentation.csv and its PNGs; also FiftyOne's layout",
    "boxes, masks, splits, categories that people verified to be absent",
    "boxes of groups, relations, narratives, labels of machines, flags of boxes",
    recognises,
    open_openimages,
)
