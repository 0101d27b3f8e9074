"""Supervisely: a project's meta.json, and a JSON file in DATASET/ann for each picture in DATASET/img.

An object is a rectangle (its corners are pixels, the last one included), a polygon, a bitmap (a PNG, compressed and as
text, whose upper left pixel is at ``origin``) or a graph, whose nodes become keypoints. A data set, or a tag of a
picture, that is named train, val or test is a split. The description of an object is an expression if it is words.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vilam.data.readers.dividing import split_of_folders, usual
from vilam.data.readers.figures import mask_shape, png_to_mask
from vilam.data.readers.formats import CLEAR, Format, Found
from vilam.data.readers.items import Item, Listing, Shape, source_of
from vilam.data.readers.kept import KeptList
from vilam.data.readers.paths import head_of, is_image, under
from vilam.data.readers.source import ALL, MALFORMED, Problem, Source, read_json, wrong
from vilam.data.readers.wording import is_expression
from vilam.data.recipes import FormatReader, Recipe
from vilam.data.records import Keypoint, KeypointSchema, Point
from vilam.errors import VilamError

MOST_BYTES = 1 << 28
"""Of a bitmap's PNG, at most."""
NO_OBJECTS = ("line", "point", "cuboid", "cuboid_2d", "multichannelBitmap")

Row = dict[str, Any]
Nodes = Mapping[str, Mapping[str, str]]
"""Names of the nodes of a graph by their id, by class."""


def recognises(root: Path) -> Found | None:
    """A meta.json with classes, in a folder or one below it, or itself, and folders ann beside img."""
    project = _project(root.parent if root.name == "meta.json" else root)
    if project is None or not _files(project):
        return None
    return Found("Supervisely", FormatReader(kind="supervisely"), project, CLEAR)


def open_supervisely(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read the JSON files; the pictures are read one by one as the rows are iterated."""
    project = _project(root)
    if project is None:
        raise VilamError(f"{root}: no meta.json with classes: set prepare.root to a project of Supervisely")
    try:
        classes = [str(one["title"]) for one in read_json(project / "meta.json")["classes"]]
        nodes, keypoints = _graphs(read_json(project / "meta.json")["classes"])
    except MALFORMED as error:
        raise VilamError(f"{project / 'meta.json'}: {error!r}: expected Supervisely's classes") from None
    items = KeptList[Item]()
    problems: list[Problem] = []
    for file in _files(project):
        try:
            items.append(_item(project, file, nodes))
        except VilamError as error:
            problems.append(Problem(ALL, str(file), str(error).removeprefix(f"{file}: ")))
        except MALFORMED as error:
            problems.append(Problem(ALL, str(file), f"cannot be read: {wrong(error)}"))
    return source_of(Listing(items, classes, keypoints, problems), recipe, reader.together, reader.window)


def _project(root: Path) -> Path | None:
    found = (path.parent for path in (root / "meta.json", *sorted(root.glob("*/meta.json"))))
    return next((folder for folder in found if '"classes"' in head_of(folder / "meta.json")), None)


def _files(project: Path) -> list[Path]:
    """The JSON files of pictures, of data sets in each other too; those of films have no img beside them."""
    return sorted(path for path in project.rglob("ann/*.json") if (path.parent.parent / "img").is_dir())


def _graphs(classes: Sequence[Row]) -> tuple[dict[str, dict[str, str]], dict[str, KeypointSchema]]:
    nodes, keypoints = {}, {}
    for one in classes:
        drawn = (one.get("geometry_config") or {}).get("nodes") or {}
        if drawn:
            own = {str(key): str(node.get("label") or key) for key, node in drawn.items()}
            places = {key: place for place, key in enumerate(own)}
            edges = [(str(edge["src"]), str(edge["dst"])) for edge in one["geometry_config"].get("edges") or ()]
            bones = tuple((places[src], places[dst]) for src, dst in edges if src in places and dst in places)
            nodes[str(one["title"])] = own
            keypoints[str(one["title"])] = KeypointSchema.without_sigmas(tuple(own.values()), bones)
    return nodes, keypoints


def _item(project: Path, file: Path, nodes: Nodes) -> Item:
    content = read_json(file)
    folder, name = file.parent.parent / "img", file.name.removesuffix(".json")
    path = folder / name
    if not is_image(path):  # old projects leave the picture's suffix out
        path = next((one for one in sorted(folder.glob(f"{name}.*")) if is_image(one) and one.stem == name), path)
    size = content.get("size") or {}
    sides = (int(size["width"]), int(size["height"])) if size else None
    rows = list(content.get("objects") or ())
    tags = [str(tag.get("name", "")).lower() for tag in content.get("tags") or () if isinstance(tag, dict)]
    split = split_of_folders(under(project, path))
    if split == ALL:
        split = next(filter(None, map(usual, tags)), ALL)
    return Item(path, under(project, path), split, str(file), partial(_shapes, rows, nodes), size=sides)


def _shapes(rows: Sequence[Row], nodes: Nodes) -> list[Shape | Problem]:
    found: list[Shape | Problem] = []
    for number, row in enumerate(rows, start=1):
        name, location = str(row.get("classTitle") or ""), f"object {number}"
        text = row.get("description")
        texts = (text,) if isinstance(text, str) and is_expression("description", text) else ()
        try:
            shape = _shape(row, name, nodes.get(name, {}))
            found.append(replace(shape, category=name, expressions=texts, location=location))
        except MALFORMED as error:
            found.append(Problem("", location, wrong(error), category=name))
    return found


def _shape(row: Row, name: str, nodes: Mapping[str, str]) -> Shape:
    """The outline, box or keypoints of an object in pixels."""
    kind = row.get("geometryType") or _old_kind(row)
    if not name:
        raise ValueError(f"a {kind} without a class")
    if kind in NO_OBJECTS:
        raise ValueError(f"a {kind} is no object")
    if kind == "rectangle":
        (x1, y1), (x2, y2) = _points(row["points"]["exterior"])
        return Shape("", (min(x1, x2), min(y1, y2), max(x1, x2) + 1, max(y1, y2) + 1))
    if kind == "polygon":
        ring = tuple(_points(row["points"]["exterior"]))
        if len(ring) < 3:
            raise ValueError(f"a polygon of {len(ring)} points")
        return Shape("", polygons=(ring,))
    if kind in ("bitmap", "alpha_mask"):
        left, top = row["bitmap"]["origin"]
        return mask_shape("", png_to_mask(_unpacked(row["bitmap"]["data"])), float(left), float(top))
    if kind == "graph":
        return Shape("", keypoints=_keypoints(row["nodes"], nodes))
    raise ValueError(f"unknown geometry {kind}")


def _old_kind(row: Row) -> str:
    """The geometry of an object of an old project, which does not name it."""
    if row.get("bitmap"):
        return "bitmap"
    return "rectangle" if len(row["points"]["exterior"]) == 2 else "polygon"


def _points(values: Sequence[Sequence[float]]) -> list[Point]:
    return [(float(x), float(y)) for x, y in values]


def _unpacked(text: str) -> bytes:
    """A bitmap's PNG; raises ValueError if it cannot be unpacked, or is larger than any picture's."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(base64.b64decode(text), MOST_BYTES)
    except zlib.error:
        raise ValueError("a bitmap that cannot be unpacked") from None
    if stream.unconsumed_tail:
        raise ValueError("a bitmap larger than any picture's")
    return content


def _keypoints(drawn: Row, nodes: Mapping[str, str]) -> tuple[Keypoint, ...]:
    """Keypoints in the order of the class; a node that is disabled is a hidden one."""
    found: list[Keypoint] = []
    for key in nodes:
        if key in drawn:
            x, y = drawn[key]["loc"]
            found.append((float(x), float(y), 1 if drawn[key].get("disabled") else 2))
        else:
            found.append((0.0, 0.0, 0))
    return tuple(found)


FORMAT = Format(
    "supervisely",
    "Supervisely",
    "meta.json, DATASET/ann/*.json, DATASET/img/*; data sets or tags of pictures may be named train, val and test",
    "boxes, outlines, bitmaps, graphs as keypoints, splits, descriptions that are words",
    "holes, tags of objects, lines, points, cuboids",
    recognises,
    open_supervisely,
)
