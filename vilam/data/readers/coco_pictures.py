"""Pictures of COCO files: what all files of a split tell of one, put together, and how it becomes an item."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from vilam.data.readers.coco_files import CocoFile
from vilam.data.readers.coco_rows import is_crowd, shapes_of
from vilam.data.readers.items import Item, Shape
from vilam.data.readers.json_parts import Part
from vilam.data.readers.paths import under
from vilam.data.readers.source import MALFORMED, Problem, tidy

logger = logging.getLogger(__name__)

Row = dict[str, Any]

STORED_SIZES = "Label Studio"
"""Its sizes are of the stored pixels, and its boxes of the upright picture."""
DATUMARO = "Datumaro"
"""Of which CVAT makes its exports: iscrowd says of an object that its outline is a mask."""
PLACES = ("bbox", "segmentation", "keypoints")


@dataclass(slots=True)
class Picture:
    """A picture of one split, with the rows of all files about it.

    location, size and licence: as the first file tells them. objects: category, annotation and file. marked: the
    categories of each file. negative: LVIS's categories that are absent, None if the files are not LVIS's. partly:
    categories of which not all objects are marked.
    """

    split: str
    path: Path
    licence: str
    location: str = ""
    size: tuple[int, int] | None = None
    objects: list[tuple[str, Row, CocoFile]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    marked: list[frozenset[str]] = field(default_factory=list)
    negative: set[str] | None = None
    partly: set[str] = field(default_factory=set)


def key_of(value: object) -> str:
    """An id as it is compared: 7, 7.0 and "7" are the same."""
    if type(value) is int:
        return str(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def name_of(row: Row) -> str:
    """A category's name as records have it."""
    return tidy(str(row["name"]))


def is_caption(row: Row) -> bool:
    """Whether an annotation describes a picture, not an object."""
    return "caption" in row and "bbox" not in row


class Facts:
    """What is known of one file beside its images and annotations.

    names: those that each category id has: one, unless the file is broken. used: category ids of objects. keypoints:
    the number of keypoints by category id. num_crowds: annotations with iscrowd. has_places: whether any annotation has
    a place in its picture; else they are labels of whole pictures.
    """

    def __init__(self, file: CocoFile) -> None:
        self.file, self.tool, self.num_images, self.num_annotations = file, "", 0, 0
        self.categories: list[Row] = []
        self.licences: dict[str, str] = {}
        self.names: dict[str, set[str]] = {}
        self.used: set[str] = set()
        self.keypoints: dict[str, int] = {}
        self.has_captions = self.has_places = False
        self.num_crowds = 0

    @property
    def is_labelled(self) -> bool:
        """Whether there are annotations."""
        return bool(self.used) or self.has_captions

    @property
    def is_of_labels(self) -> bool:
        """Whether its annotations are labels of whole pictures, such as Datumaro's labels_train.json."""
        return bool(self.used) and not self.has_places and not self.has_captions

    def tell_crowds(self) -> None:
        """Say what is done with annotations that are said to be crowds."""
        if self.num_crowds and self.tool == DATUMARO:
            told = "%s: iscrowd of %d annotations is not regarded: CVAT and Datumaro set it for every mask"
            logger.warning(told, self.file.path, self.num_crowds)
        elif 2 * self.num_crowds > self.num_annotations:
            told = "%s: %d of %d annotations are crowds, which are no objects: if they are, set iscrowd to 0"
            logger.warning(told, self.file.path, self.num_crowds, self.num_annotations)

    @cached_property
    def marked(self) -> frozenset[str]:
        """The names of all categories."""
        return frozenset[str]().union(*self.names.values())

    def tell(self, part: Part) -> None:
        """Take a category, a licence, or what ``info`` tells of the tool."""
        row = part.value
        if part.name == "categories":
            self.categories.append(row)
            self.names.setdefault(key_of(row["id"]), set()).add(name_of(row))
        elif part.name == "licenses":
            self.licences[key_of(row.get("id"))] = str(row.get("name") or row.get("url") or "")
        elif isinstance(row, dict):
            is_empty = {"contributor", "date_created"} <= row.keys() and not any(row.values())
            self.tool = DATUMARO if is_empty else str(row.get("contributor", ""))

    def count(self, row: Row) -> None:
        """Take note of an annotation's category and keypoints."""
        self.num_annotations += 1
        if is_caption(row):
            self.has_captions = True
            return
        category = key_of(row.get("category_id"))
        self.used.add(category)
        self.num_crowds += is_crowd(row)
        self.has_places = self.has_places or any(row.get(place) for place in PLACES)
        points = row.get("keypoints")
        if isinstance(points, list) and len(points) % 3 == 0 and any(points):
            self.keypoints.setdefault(category, len(points) // 3)


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


def add_image(picture: Picture, row: Row, facts: Facts) -> None:
    """What a file's row of images tells of a picture."""
    picture.location = picture.location or f"{facts.file.path}: image {row['id']}"
    picture.size = picture.size or size_of(row, facts.tool)
    picture.marked.append(facts.marked)
    if isinstance(row.get("neg_category_ids"), list):
        picture.negative = (picture.negative or set()).union(*(_named(facts.names, row["neg_category_ids"])))
    if isinstance(row.get("not_exhaustive_category_ids"), list):
        picture.partly.update(*_named(facts.names, row["not_exhaustive_category_ids"]))


def add_annotation(picture: Picture, row: Row, facts: Facts) -> None:
    """What a file's row of annotations tells of a picture: an object, a caption, or more of an object that is known."""
    if is_caption(row):
        picture.captions.append(str(row["caption"]))
        return
    if facts.tool == DATUMARO:
        row = {**row, "iscrowd": 0}
    own = facts.names.get(key_of(row.get("category_id")), set())
    if _add_known(picture, row, own, facts.file):
        return
    if len(own) == 1:
        picture.objects.append((next(iter(own)), row, facts.file))
        return
    number = row.get("category_id")
    told = f"category id {number} is {' and '.join(sorted(own))}" if own else f"unknown category id {number}"
    picture.problems.append(Problem("", f"annotation {row.get('id')}", told))
    picture.partly |= own


def _named(names: Mapping[str, set[str]], ids: list[Any]) -> list[set[str]]:
    return [names.get(key_of(one), set()) for one in ids]


def _add_known(picture: Picture, row: Row, names: set[str], file: CocoFile) -> bool:
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


def item_of(root: Path, picture: Picture, categories: Sequence[str]) -> Item:
    """A picture as an item; ``categories``: all of the data set."""
    return Item(
        picture.path,
        under(root, picture.path),
        picture.split,
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
    marked = set[str]().union(*picture.marked)
    if picture.negative is not None:
        marked &= picture.negative | {name for name, _, _ in picture.objects}
    crowds = {name for name, row, _ in picture.objects if is_crowd(row)}
    return [name for name in categories if name not in marked or name in crowds or name in picture.partly]
