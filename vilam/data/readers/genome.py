"""Visual Genome: descriptions that people wrote for regions that they chose themselves.

``region_descriptions.json`` holds a row for each image with its regions (phrase, x, y, width, height in pixels); images
are in ``VG_100K`` and ``VG_100K_2``, or ``images``. Regions have no category.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vilam.data.readers.images import read_image
from vilam.data.readers.source import Problem, RawRecord, Source, find_image, read_json, split_of, tidy
from vilam.data.recipes import Recipe
from vilam.data.records import Expression, ImageRecord, Region
from vilam.errors import VilamError

SPLITS = ("train", "val", "test")
FILE = "region_descriptions.json"
CATEGORY = "region"
FOLDERS = ("VG_100K", "VG_100K_2", "images", ".")

Row = dict[str, Any]


def open_genome(root: Path, recipe: Recipe) -> Source:
    """Read the descriptions; the images are read one by one as the rows are iterated."""
    rows = read_json(root / FILE)
    if not isinstance(rows, list):
        raise VilamError(f"{root / FILE}: expected a list of images with regions")
    ordered = sorted(
        ((split_of(str(row.get("id"))), number, row) for number, row in enumerate(rows, start=1)),
        key=lambda one: (SPLITS.index(one[0]), one[1]),
    )
    read = (found for split, number, row in ordered for found in _rows(root, recipe, split, number, row))
    return Source(recipe.name, (CATEGORY,), {}, SPLITS, (recipe.licence,), len(rows), read)


def _rows(root: Path, recipe: Recipe, split: str, number: int, row: Row) -> Iterator[RawRecord | Problem]:
    location = f"{root / FILE}: row {number}"
    try:
        name = str(int(row["id"]))
        path = find_image(tuple(root / folder for folder in FOLDERS), f"{name}.jpg")
        if path is None:
            raise ValueError(f"image file {name}.jpg not found")
        content, width, height = read_image(path)
        listed = list(row["regions"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        yield Problem(split, location, f"cannot be read: {error}")
        return
    regions = []
    for one in listed:
        try:
            x, y, across, down = (float(one[side]) for side in ("x", "y", "width", "height"))
            text = tidy(one["phrase"])
            expressions = (Expression(text),) if text else ()
            box = (x, y, x + across, y + down)
            regions.append(Region(f"{name}_{one['region_id']}", box, CATEGORY, expressions=expressions))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield Problem(split, f"{location}, region {one!r:.40}", f"cannot be read: {error!r}")
    record = ImageRecord(name, split, content, width, height, recipe.name, recipe.licence, (), tuple(regions))
    yield RawRecord(record, location)
