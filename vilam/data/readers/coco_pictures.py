"""Pictures of COCO files: what all files of a split tell of one, put together, and how it becomes an item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vilam.data.readers.coco_files import CocoFile
from vilam.data.readers.coco_rows import is_crowd, shapes_of
from vilam.data.readers.items import Item, Shape
from vilam.data.readers.paths import under
from vilam.data.readers.source import ALL, MALFORMED, Problem, tidy

Row = dict[str, Any]

STORED_SIZES = "Label Studio"
"""Its sizes are of the stored pixels, and its boxes of the upright picture."""


@dataclass(slots=True)
class Picture:
    """A picture of one split, with the rows of all files about it.

    objects: category, annotation and file. marked: the categories of each file. negative: LVIS's categories that are
    absent, None if the files are not LVIS's. partly: categories of which not all objects are marked.
    """

    path: Path
    split: str
    location: str
    size: tuple[int, int] | None
    licence: str
    objects: list[tuple[str, Row, CocoFile]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    marked: list[Iterable[str]] = field(default_factory=list)
    negative: set[str] | None = None
    partly: set[str] = field(default_factory=set)


def key_of(value: object) -> str:
    """An id as it is compared: 7, 7.0 and "7" are the same."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def names_of(categories: Iterable[Row]) -> dict[str, set[str]]:
    """The names that each category id has in one file: one, unless the file is broken."""
    found: dict[str, set[str]] = {}
    for row in categories:
        found.setdefault(key_of(row["id"]), set()).add(name_of(row))
    return found


def name_of(row: Row) -> str:
    """A category's name as records have it."""
    return tidy(str(row["name"]))


def size_of(row: Row, tool: str) -> tuple[int, int] | None:
    """Width and height that the file tells; None if it does not, or tells those of the stored pixels."""
    try:
        width, height = (int(float(row[side])) for side in ("width", "height"))
    except MALFORMED:
        return None
    return (width, height) if width > 0 and height > 0 and tool != STORED_SIZES else None


def licence_of(row: Row, licences: Mapping[str, str]) -> str:
    """The licence of a picture; that of the file if it has one alone and the picture names none."""
    own = licences.get(key_of(row.get("license")), "")
    return own or (next(iter(licences.values())) if len(licences) == 1 and "license" not in row else "")


def add_lvis(picture: Picture, row: Row, names: Mapping[str, set[str]]) -> None:
    """What LVIS tells of a picture's categories."""
    if isinstance(row.get("neg_category_ids"), list):
        picture.negative = (picture.negative or set()).union(*(_named(names, row["neg_category_ids"])))
    if isinstance(row.get("not_exhaustive_category_ids"), list):
        picture.partly.update(*_named(names, row["not_exhaustive_category_ids"]))


def _named(names: Mapping[str, set[str]], ids: list[Any]) -> list[set[str]]:
    return [names.get(key_of(one), set()) for one in ids]


def add_known(picture: Picture, row: Row, names: set[str], file: CocoFile) -> bool:
    """Whether an annotation is there from another file; what it tells beside that is added, such as keypoints."""
    if not picture.objects or picture.objects[0][2] is file:  # the first files come first
        return False
    for number, (name, other, source) in enumerate(picture.objects):
        same_id = row.get("id") is not None and key_of(row["id"]) == key_of(other.get("id"))
        same_box = row.get("bbox") == other.get("bbox") and bool(row.get("bbox"))
        if source is not file and names <= {name} and (same_box or (same_id and row.get("bbox") is None)):
            picture.objects[number] = (name, {**row, **{key: value for key, value in other.items() if value}}, source)
            return True
    return False


def item_of(root: Path, picture: Picture, categories: Sequence[str], held_out: bool) -> Item:
    """A picture as an item. held_out: whether other files have a split, so that a picture without one is of train."""
    return Item(
        picture.path,
        under(root, picture.path),
        "train" if held_out and picture.split == ALL else picture.split,
        picture.location,
        partial(_shapes, picture),
        size=picture.size,
        captions=tuple(picture.captions),
        licence=picture.licence,
        unmarked=partial(_unmarked, picture, categories),
    )


def _shapes(picture: Picture) -> list[Shape | Problem]:
    return [*shapes_of((name, row) for name, row, _ in picture.objects), *picture.problems]


def _unmarked(picture: Picture, categories: Sequence[str]) -> list[str]:
    """The categories of which a picture may have objects that are not marked."""
    marked = {name for names in picture.marked for name in names}
    if picture.negative is not None:
        marked &= picture.negative | {name for name, _, _ in picture.objects}
    crowds = {name for name, row, _ in picture.objects if is_crowd(row)}
    return [name for name in categories if name not in marked or name in crowds or name in picture.partly]
