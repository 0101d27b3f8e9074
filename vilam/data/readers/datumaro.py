"""Datumaro's JSON, also as CVAT exports it: annotations/SUBSET.json, and pictures in images/SUBSET or images.

Boxes are (x, y, width, height) in pixels, with an attribute ``rotation`` in degrees about the centre; masks are COCO's
run lengths. Annotations of one label and ``group`` are parts of one object, and a caption of the group is its
expression. Points are keypoints where the categories name them. The subset ``default`` is not divided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from vilam.data.masks import rle_to_mask
from vilam.data.readers.figures import corners, ellipse, joined, mask_shape, rotated
from vilam.data.readers.formats import CLEAR, Format, Found
from vilam.data.readers.items import Item, Listing, Shape, source_of
from vilam.data.readers.json_parts import parts_of
from vilam.data.readers.kept import KeptList
from vilam.data.readers.paths import Pictures, files_of, head_of, literal, under
from vilam.data.readers.source import ALL, IMAGE_SUFFIXES, MALFORMED, Problem, Source, wrong
from vilam.data.recipes import FormatReader, Recipe
from vilam.data.records import KeypointSchema, Point
from vilam.errors import VilamError

DEFAULT = "default"
OF_PICTURES = ("caption", "label")
"""Annotations that have no place in the picture."""
NO_OBJECTS = ("cuboid_2d", "cuboid_3d", "polyline")

Row = dict[str, Any]


@dataclass(slots=True)
class _Names:
    """Labels by number, and the keypoints of some of them by name."""

    labels: list[str] = field(default_factory=list)
    keypoints: dict[str, KeypointSchema] = field(default_factory=dict)


def recognises(root: Path) -> Found | None:
    """annotations/*.json that begin with Datumaro's categories, or such a file itself."""
    if root.is_file():
        if not _is_datumaro(root):
            return None
        folder = root.parent.parent if root.parent.name == "annotations" else root.parent
        place = literal(under(folder, root))
        return Found("Datumaro", FormatReader(kind="datumaro", files={_split(root): place}), folder, CLEAR)
    if not any(map(_is_datumaro, _files(root))):
        return None
    return Found("Datumaro", FormatReader(kind="datumaro"), root, CLEAR)


def open_datumaro(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read the JSON files; the pictures are read one by one as the rows are iterated."""
    items = KeptList[Item]()
    problems: list[Problem] = []
    labels: dict[str, None] = {}
    keypoints: dict[str, KeypointSchema] = {}
    pictures = Pictures(root)
    for split, file in files_of(root, reader, filter(_is_datumaro, _files(root))):
        names, rows = _content(file)
        labels.update(dict.fromkeys(names.labels))
        keypoints.update(names.keypoints)
        official = _split(file) if reader.files is None else split
        others = {path.stem for path in _files(root)} - {file.stem}
        folders = [root / folder for folder in (*reader.images, f"images/{file.stem}", "images", "")]
        find = partial(pictures.first, folders=folders, foreign=others.__contains__)
        for number, row in enumerate(rows, start=1):
            try:
                items.append(_item(root, official, f"{file}: item {row['id']}", row, names, find))
            except MALFORMED as error:
                problems.append(Problem(official, f"{file}: item {number}", f"cannot be read: {wrong(error)}"))
    listing = Listing(items, list(labels), keypoints, problems, renamed=pictures.renamed)
    return source_of(listing, recipe, reader.together, reader.window)


def _content(file: Path) -> tuple[_Names, KeptList[Any]]:
    """The categories and items of a file; raises VilamError if it has none."""
    rows, found = KeptList[Any](), dict[str, Any]()
    for part in parts_of(file):
        if part.is_row and part.name == "items":
            rows.append(part.value)
        elif not part.is_row:
            found[part.name] = part.value
    try:
        names = _names(found["categories"])
        if not isinstance(found["items"], list):
            raise TypeError("items is no list")
    except MALFORMED as error:
        raise VilamError(f"{file}: {error!r}: expected Datumaro's categories and items: export it again") from None
    return names, rows


def _files(root: Path) -> list[Path]:
    return sorted(root.glob("annotations/*.json")) or sorted(root.glob("*.json"))


def _is_datumaro(file: Path) -> bool:
    head = "".join(head_of(file)[:4096].split())
    return file.suffix == ".json" and ('"dm_format_version"' in head or '"categories":{"label":{"labels":' in head)


def _split(file: Path) -> str:
    return ALL if file.stem.lower() == DEFAULT else file.stem


def _names(categories: Row) -> _Names:
    labels = [str(one["name"]) for one in (categories.get("label") or {"labels": []})["labels"]]
    keypoints = {}
    for one in (categories.get("points") or {"items": []})["items"]:
        points = tuple(map(str, one["labels"]))
        pairs = [(int(start) - 1, int(end) - 1) for start, end in one.get("joints") or ()]
        bones = tuple(pair for pair in pairs if all(0 <= place < len(points) for place in pair))
        keypoints[labels[int(one["label_id"])]] = KeypointSchema.without_sigmas(points, bones)
    return _Names(labels, keypoints)


def _item(
    root: Path, split: str, location: str, row: Row, names: _Names, find: Callable[[Sequence[str]], Path]
) -> Item:
    media = row.get("image") or {}
    stem = str(row["id"])
    told = [str(media["path"])] if media.get("path") else []
    path = find([*told, *(stem + suffix for suffix in IMAGE_SUFFIXES)])
    size = media.get("size")
    sides = (int(size[1]), int(size[0])) if size else None  # told as height and width
    rows = list(row.get("annotations") or ())
    groups = {one.get("group") for one in rows if one.get("type") not in OF_PICTURES} - {0, None}
    captions = [str(one["caption"]) for one in rows if one.get("type") == "caption" and one.get("group") not in groups]
    crowds = {_label(one, names) for one in rows if (one.get("attributes") or {}).get("is_crowd")}
    shapes = partial(_shapes, rows, names)
    own = tuple(name for name in crowds if name)
    return Item(path, under(root, path), split, location, shapes, size=sides, captions=tuple(captions), unmarked=own)


def _label(row: Row, names: _Names) -> str:
    number = row.get("label_id")
    return names.labels[number] if isinstance(number, int) and 0 <= number < len(names.labels) else ""


def _shapes(rows: Sequence[Row], names: _Names) -> list[Shape | Problem]:
    texts: dict[Any, tuple[str, ...]] = {}
    for row in rows:
        if row.get("type") == "caption" and row.get("group"):
            texts[row["group"]] = (*texts.get(row["group"], ()), str(row["caption"]))
    parts: list[tuple[object, Shape | Problem]] = []
    for number, row in enumerate(rows, start=1):
        attributes = row.get("attributes") or {}
        if row.get("type") in OF_PICTURES or attributes.get("is_crowd"):
            continue
        name, group, location = _label(row, names), row.get("group"), f"annotation {row.get('id', number)}"
        try:
            shape = replace(_shape(row, name, attributes, names.keypoints), location=location)
            part: Shape | Problem = replace(shape, expressions=texts.get(group, ()))
        except MALFORMED as error:
            part = Problem("", location, wrong(error), category=name)
        parts.append(((name, group) if group else None, part))
    return joined(parts)


def _shape(row: Row, name: str, attributes: Row, keypoints: Mapping[str, KeypointSchema]) -> Shape:
    """The outline, box or keypoints of an annotation in pixels."""
    kind = row["type"]
    if kind in NO_OBJECTS:
        raise ValueError(f"a {kind} is no object")
    if not name:
        raise ValueError(f"a {kind} without a label")
    if kind == "bbox":
        x, y, width, height = (float(value) for value in row["bbox"])
        box, turn = (x, y, x + width, y + height), float(attributes.get("rotation") or 0)
        if not turn:
            return Shape(name, box)
        return Shape(name, polygons=(rotated(corners(box), turn, (x + width / 2, y + height / 2)),))
    if kind == "mask":
        return mask_shape(name, rle_to_mask(row["rle"]))
    if kind == "polygon":
        ring = tuple(_pairs(row["points"]))
        if len(ring) < 3:
            raise ValueError(f"a polygon of {len(ring)} points")
        return Shape(name, polygons=(ring,))
    if kind == "ellipse":
        (x1, y1), (x2, y2) = _pairs(row["points"])
        return Shape(name, polygons=(ellipse(((x1 + x2) / 2, (y1 + y2) / 2), ((x2 - x1) / 2, (y2 - y1) / 2)),))
    if kind == "points":
        points = _pairs(row["points"])
        if name not in keypoints or len(points) != len(keypoints[name].names):
            raise ValueError(f"{len(points)} points that the categories do not name are no object")
        seen = row.get("visibility") or [2] * len(points)
        return Shape(name, keypoints=tuple((x, y, int(v)) for (x, y), v in zip(points, seen, strict=True)))
    raise ValueError(f"unknown annotation {kind}")


def _pairs(values: Sequence[float]) -> list[Point]:
    if len(values) % 2:
        raise ValueError(f"{len(values)} numbers are no points")
    return [(float(x), float(y)) for x, y in zip(values[::2], values[1::2], strict=True)]


FORMAT = Format(
    "datumaro",
    "Datumaro",
    "annotations/SUBSET.json; pictures in images/SUBSET, or in images",
    "boxes, outlines, masks, ellipses, keypoints, groups as one object, captions, subsets",
    "labels of pictures, attributes, angles, polylines, cuboids, z_order",
    recognises,
    open_datumaro,
)
