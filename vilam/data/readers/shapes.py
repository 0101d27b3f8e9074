"""Tables in which one column holds all objects of an image, in the format of Object-CXR.

Objects are separated by semicolons: ``0 x1 y1 x2 y2`` is a box, ``1 x1 y1 x2 y2`` an ellipse in a box, ``2 x1 y1 x2 y2
x3 y3 ...`` a polygon. An empty column means an image without objects.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vilam.data.readers.dividing import of_recipe
from vilam.data.readers.images import read_image
from vilam.data.readers.naming import picture_ids, without_suffix
from vilam.data.readers.source import Problem, RawRecord, Source, split_order
from vilam.data.readers.table import read_table
from vilam.data.recipes import Recipe, ShapesReader
from vilam.data.records import ImageRecord, Polygon, Region
from vilam.errors import VilamError
from vilam.geometry.polygons import polygon_box

BOX, ELLIPSE, POLYGON = "0", "1", "2"
ELLIPSE_POINTS = 32


@dataclass(frozen=True, slots=True)
class _Listed:
    """A row: an image, its split in the recipe, and the text of its objects."""

    split: str
    location: str
    path: Path
    name: str
    shapes: str


def open_shapes(root: Path, recipe: Recipe, reader: ShapesReader) -> Source:
    """Read the tables; the images are read one by one as the rows are iterated."""
    listed = [
        _Listed(
            split,
            f"{root / name}: line {number}",
            root / reader.images[split].format(image=row[reader.image]),
            row[reader.image],
            row[reader.shapes],
        )
        for split, name in reader.files.items()
        for number, row in enumerate(read_table(root / name, ",", [reader.image, reader.shapes]), start=2)
    ]
    if not listed:
        raise VilamError(f"{root}: no rows in {', '.join(reader.files.values())}")
    own = of_recipe([(one.split, without_suffix(one.name)) for one in listed], reader.together)
    ids = picture_ids([one.name for one in listed], own)
    ordered = sorted(zip(own, ids, listed, strict=True), key=lambda one: split_order(one[0]))
    splits = tuple(dict.fromkeys(split for split, _, _ in ordered))
    rows = (row for split, image_id, one in ordered for row in _rows(recipe, reader, one, image_id, split))
    return Source(recipe.name, (reader.category,), {}, splits, (recipe.licence,), len(listed), rows)


def _rows(
    recipe: Recipe, reader: ShapesReader, listed: _Listed, image_id: str, split: str
) -> Iterator[RawRecord | Problem]:
    location = listed.location
    try:
        content, width, height = read_image(listed.path, reader.window)
    except OSError as error:
        yield Problem(split, location, f"image {listed.name}: cannot be read: {error.strerror or error}")
        return
    regions: list[Region] = []
    for number, shape in enumerate(filter(None, map(str.strip, listed.shapes.split(";")))):
        try:
            regions.append(_region(f"{image_id}_{number}", shape, reader.category))
        except ValueError as error:
            yield Problem(split, f"{location}, object {number + 1}", f"{shape[:40]!r}: {error}")
    record = ImageRecord(image_id, split, content, width, height, recipe.name, recipe.licence, (), tuple(regions))
    yield RawRecord(record, location)


def _region(region_id: str, shape: str, category: str) -> Region:
    kind, *rest = shape.split()
    values = [float(value) for value in rest]
    if kind == POLYGON and len(values) >= 6 and len(values) % 2 == 0:
        ring: Polygon = tuple(zip(values[::2], values[1::2], strict=True))
        return Region(region_id, polygon_box(ring), category, (ring,))
    if kind not in (BOX, ELLIPSE) or len(values) != 4:
        raise ValueError("neither 0 or 1 and four numbers nor 2 and three points or more")
    x1, y1, x2, y2 = values
    polygons = (_ellipse(x1, y1, x2, y2),) if kind == ELLIPSE else ()
    return Region(region_id, (x1, y1, x2, y2), category, polygons)


def _ellipse(x1: float, y1: float, x2: float, y2: float) -> Polygon:
    angles = (2 * math.pi * i / ELLIPSE_POINTS for i in range(ELLIPSE_POINTS))
    return tuple(
        ((x1 + x2) / 2 + (x2 - x1) / 2 * math.cos(a), (y1 + y2) / 2 + (y2 - y1) / 2 * math.sin(a)) for a in angles
    )
