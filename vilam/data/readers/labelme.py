"""labelme: a JSON file for each picture, beside it, with shapes in pixels; also AnyLabeling's files of this kind.

A shape is a polygon, a rectangle (two corners in any order, or four), an oriented rectangle, a circle (its centre and a
point of its rim) or a mask (a PNG in a box whose corners are its first and its last pixel). Lines and points are no
objects. Shapes of one label and ``group_id`` are parts of one object. The picture is ``imagePath``, seen from the JSON
file, or ``imageData``; its coordinates are those of the picture turned by its tag. Folders may be named by split.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from vilam.data.readers.dividing import split_of_folders
from vilam.data.readers.figures import ellipse, joined, mask_shape, png_to_mask
from vilam.data.readers.formats import CLEAR, Format, Found
from vilam.data.readers.items import Item, Listing, Shape, source_of
from vilam.data.readers.kept import KeptList
from vilam.data.readers.paths import Pictures, files_of, head_of, literal, under
from vilam.data.readers.source import ALL, IMAGE_SUFFIXES, MALFORMED, Problem, Source, read_json, wrong
from vilam.data.readers.wording import is_expression
from vilam.data.recipes import FormatReader, Recipe
from vilam.data.records import Point
from vilam.errors import VilamError
from vilam.geometry.polygons import polygon_box

FEW = 3
"""Files of a folder that are looked at to recognise it."""
NO_OBJECTS = ("line", "linestrip", "point", "points")
OUTLINES = ("polygon", "oriented_rectangle", "rotation")

Row = dict[str, Any]


def recognises(root: Path) -> Found | None:
    """A JSON file with labelme's shapes, in a folder or up to two below it, or such a file itself."""
    if root.is_file():
        reader = FormatReader(kind="labelme", files={ALL: literal(root.name)})
        return Found("labelme", reader, root.parent, CLEAR) if _is_labelme(root) else None
    for pattern in ("*.json", "*/*.json", "*/*/*.json"):
        if any(map(_is_labelme, islice(root.glob(pattern), FEW))):
            return Found("labelme", FormatReader(kind="labelme"), root, CLEAR)
    return None


def open_labelme(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read the JSON files; the pictures are read one by one as the rows are iterated."""
    items = KeptList[Item]()
    problems: list[Problem] = []
    names: dict[str, None] = {}
    pictures = Pictures(root)
    for split, file in files_of(root, reader, filter(_is_own, sorted(root.rglob("*.json")))):
        official = split_of_folders(under(root, file)) if split == ALL else split
        try:
            content = read_json(file)
            shapes = [shape for shape in content["shapes"] if isinstance(shape, dict)]
            names.update((str(shape["label"]), None) for shape in shapes if shape.get("label"))
            folders = [file.parent, *(root / folder for folder in reader.images), root]
            items.append(_item(root, file, official, content, shapes, partial(pictures.find, folders=folders)))
        except VilamError as error:
            problems.append(Problem(official, str(file), str(error).removeprefix(f"{file}: ")))
        except MALFORMED as error:
            problems.append(Problem(official, str(file), f"cannot be read: {wrong(error)}"))
    listing = Listing(items, list(names), problems=problems, renamed=pictures.renamed)
    return source_of(listing, recipe, reader.together, reader.window)


def _is_labelme(file: Path) -> bool:
    head = head_of(file)
    return file.suffix == ".json" and '"shapes"' in head and ('"imagePath"' in head or '"shape_type"' in head)


def _is_own(file: Path) -> bool:
    """Whether a file among those of labelme is one, or is what is left of one: empty, or cut off, beside a picture."""
    if _is_labelme(file):
        return True
    head = head_of(file).strip()
    return (not head or '"shapes"' in head) and any(one.is_file() for one in _beside(file))


def _beside(file: Path) -> Iterator[Path]:
    return (file.with_suffix(end) for suffix in IMAGE_SUFFIXES for end in (suffix, suffix.upper()))


def _item(root: Path, file: Path, split: str, content: Row, shapes: Sequence[Row], find: Any) -> Item:
    named = str(content.get("imagePath") or "")
    named = "" if named.lower().endswith(".json") else named  # some versions name the file itself
    path = (find(named) if named else None) or next((one for one in _beside(file) if one.is_file()), None)
    size = content.get("imageWidth"), content.get("imageHeight")
    sides = (int(size[0]), int(size[1])) if size[0] and size[1] else None
    own = partial(_shapes, shapes)
    if path is None and content.get("imageData"):
        name = under(root, file).removesuffix(".json")
        return Item(partial(_embedded, file), name, split, str(file), own, size=sides)
    path = path or file.parent / (named.replace("\\", "/") or file.stem)
    return Item(path, under(root, path), split, str(file), own, size=sides)


def _embedded(file: Path) -> bytes:
    """The picture that the file holds, which is read again rather than kept."""
    return base64.b64decode(read_json(file)["imageData"])


def _shapes(shapes: Sequence[Row]) -> list[Shape | Problem]:
    parts: list[tuple[object, Shape | Problem]] = []
    for number, row in enumerate(shapes, start=1):
        name, group = str(row.get("label") or ""), row.get("group_id")
        location = f"shape {number}"
        try:
            part: Shape | Problem = replace(_shape(row), category=name, expressions=_texts(row), location=location)
        except MALFORMED as error:
            part = Problem("", location, wrong(error), category=name)
        parts.append((None if group is None else (name, str(group)), part))
    return joined(parts)


def _texts(row: Row) -> tuple[str, ...]:
    text = row.get("description")
    return (text,) if isinstance(text, str) and is_expression("description", text) else ()


def _shape(row: Row) -> Shape:
    """The outline or box of a shape in pixels."""
    kind, points = row.get("shape_type") or "polygon", list(_points(row))
    if not row.get("label"):
        raise ValueError(f"a {kind} without a label")
    if kind in NO_OBJECTS:
        raise ValueError(f"a {kind} is no object")
    if kind == "rectangle":
        if len(points) not in (2, 4):
            raise ValueError(f"a rectangle of {len(points)} corners")
        return Shape("", polygon_box(points))
    if kind == "circle":
        (x, y), (rim_x, rim_y) = points
        radius = ((x - rim_x) ** 2 + (y - rim_y) ** 2) ** 0.5
        return Shape("", polygons=(ellipse((x, y), (radius, radius)),))
    if kind == "mask":
        left, top, *_ = polygon_box(points)
        return mask_shape("", png_to_mask(base64.b64decode(row["mask"])), round(left), round(top))
    if kind in OUTLINES:
        if len(points) < 3:
            raise ValueError(f"a {kind} of {len(points)} points")
        return Shape("", polygons=(tuple(points),))
    raise ValueError(f"unknown shape {kind}")


def _points(row: Row) -> Iterator[Point]:
    for x, y in row["points"]:
        yield float(x), float(y)


FORMAT = Format(
    "labelme",
    "labelme",
    "a JSON file beside each picture, or with the picture in it; folders may be named train, val and test",
    "outlines, boxes, circles, masks, groups as one object, descriptions that are words",
    "lines, points, flags",
    recognises,
    open_labelme,
)
