"""The columns of a CSV or TSV file of boxes, by their heads, or by the form of the rows if it has no heads.

Heads are compared without case, spaces and signs. Files of Open Images and VIA have readers of their own.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vilam.data.readers.naming import without_suffix
from vilam.data.readers.paths import head_of
from vilam.geometry.boxes import BoxOrder

IMAGES = (
    *("filename", "file", "filepath", "path", "image", "imagename", "imagefile", "imagefilename", "imagepath"),
    *("imageid", "img", "imgname", "imgpath", "imgid", "picture"),
)
CATEGORIES = ("class", "classname", "label", "labelname", "category", "categoryname", "objectclass", "objectname")
SPLITS = ("split", "subset", "partition")
SIDES = (("width", "height"), ("imagewidth", "imageheight"), ("imgwidth", "imgheight"), ("imgw", "imgh"))
BOXES: tuple[tuple[tuple[str, ...], tuple[BoxOrder, ...]], ...] = (
    (("xmin", "ymin", "xmax", "ymax"), ("xyxy",)),
    (("x1", "y1", "x2", "y2"), ("xyxy",)),
    (("x0", "y0", "x1", "y1"), ("xyxy",)),
    (("xtl", "ytl", "xbr", "ybr"), ("xyxy",)),
    (("left", "top", "right", "bottom"), ("xyxy",)),
    (("left", "top", "width", "height"), ("xywh",)),
    (("xmin", "ymin", "width", "height"), ("xywh",)),
    (("xcenter", "ycenter", "width", "height"), ("cxcywh",)),
    (("xcentre", "ycentre", "width", "height"), ("cxcywh",)),
    (("centerx", "centery", "width", "height"), ("cxcywh",)),
    (("cx", "cy", "width", "height"), ("cxcywh",)),
    (("cx", "cy", "w", "h"), ("cxcywh",)),
    (("x", "y", "width", "height"), ("xywh", "cxcywh")),
    (("x", "y", "w", "h"), ("xywh", "cxcywh")),
    (("bbox",), ("xywh", "xyxy", "cxcywh")),
    (("box",), ("xywh", "xyxy", "cxcywh")),
    (("boundingbox",), ("xywh", "xyxy", "cxcywh")),
)
"""Columns of boxes, the clearest first, and what their four numbers may be."""
PREFIX = re.compile(r"^(?:bbox|box|boundingbox|roi)(?=.)")
SEPARATORS = (",", ";", "\t")
FORMATS_OF_THEIR_OWN = ({"labelname", "xmin", "xmax", "ymin", "ymax", "imageid"}, {"regionshapeattributes"})
"""Heads of Open Images and of VIA."""
SUFFIXES = (".csv", ".tsv")
NUMBER = re.compile(r"\s*-?\d+(?:\.\d+)?\s*")
RETINANET = 6
"""Columns of keras-retinanet: the picture, two corners, the class; of a picture without objects the first alone."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column (from 0) holds what. box: four, or one that holds four numbers. orders: what these may be.

    sides: width and height of the picture. has_heads: whether the first line names the columns.
    """

    separator: str
    image: int
    box: tuple[int, ...]
    orders: tuple[BoxOrder, ...]
    category: int
    split: int | None = None
    sides: tuple[int, int] | None = None
    has_heads: bool = True


def columns_of(file: Path) -> Columns | None:
    """The columns of a file of boxes; None if it is none, or its columns may be something else."""
    separator, heads = heads_of(file)
    if not heads:
        return None
    keys = [re.sub(r"[\W_]+", "", head.casefold()) for head in heads]
    if any(own <= {*keys} for own in FORMATS_OF_THEIR_OWN):
        return None
    image, category = (next((keys.index(one) for one in names if one in keys), None) for names in (IMAGES, CATEGORIES))
    bare = [PREFIX.sub("", key) for key in keys]
    found = next(((own, orders, names) for names in (keys, bare) for own, orders in BOXES if {*own} <= {*names}), None)
    if image is None or category is None or found is None:
        return _of_retinanet(file)
    own, orders, names = found
    box = tuple(map(names.index, own))
    pairs = ((keys.index(width), keys.index(height)) for width, height in SIDES if {width, height} <= {*keys})
    sides = next((pair for pair in pairs if not {*pair} & {*box}), None)
    split = next((keys.index(one) for one in SPLITS if one in keys), None)
    return Columns(separator, image, box, orders, category, split, sides)


def heads_of(file: Path) -> tuple[str, list[str]]:
    """The separator of a table and the heads of its columns; none for a file that is no table."""
    if file.suffix.lower() not in SUFFIXES:
        return ",", []
    first = head_of(file).partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    return separator, [one.strip() for one in _split(first, separator)] if separator in first else []


def _of_retinanet(file: Path) -> Columns | None:
    """keras-retinanet's columns, which have no heads: seen in the first lines, all of which must have its form."""
    *lines, last = head_of(file).splitlines() or [""]
    rows = [_split(line, ",") for line in (lines or [last]) if line.strip()]
    if not rows or not all(map(is_retinanet, rows)) or not any(row[1] for row in rows):
        return None
    return Columns(",", 0, (1, 2, 3, 4), ("xyxy",), 5, has_heads=False)


def is_retinanet(row: Sequence[str]) -> bool:
    """Whether a row is a picture, two corners and a class, or a picture and five empty fields."""
    if len(row) != RETINANET or without_suffix(row[0]) == row[0]:
        return False
    return not any(row[1:]) or (all(map(NUMBER.fullmatch, row[1:5])) and bool(row[5].strip()))


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []
