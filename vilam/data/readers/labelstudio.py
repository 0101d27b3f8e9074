"""Label Studio: its exports "JSON" and "JSON-MIN", and the files of a target storage; pictures by the names of uploads.

Coordinates are per cents of the picture as the browser showed it, turned by its tag. A rectangle turns clockwise about
its upper left corner, in pixels, not in per cents. A brush is a stream of run lengths (brush.py).

Of a task's annotations one is taken: the ground truth, else the last one that was not cancelled; predictions and drafts
are none. A task without annotations is no picture of the set, an annotation without regions is a picture without
objects. Results of one id are one region. A text beside a region is an expression, a text alone is a caption of the
picture. Keypoints belong to the region that they name as their parent. ``split`` among the data of a task is its split.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vilam.data.readers.brush import brush_to_mask
from vilam.data.readers.figures import corners, ellipse, mask_shape, png_to_mask, rotated
from vilam.data.readers.formats import CLEAR, Format, Found
from vilam.data.readers.items import Item, LazyItems, Listing, Shape, source_of
from vilam.data.readers.kept import KeptList
from vilam.data.readers.labelstudio_tasks import (
    INLINE,
    Region,
    Row,
    captions_of,
    names_of,
    pictures_of,
    regions_of,
    tasks_of,
    uploaded,
    work_of,
)
from vilam.data.readers.paths import Pictures, files_of, head_of, place_of, under
from vilam.data.readers.source import ALL, MALFORMED, OBJECT, Problem, Source, wrong
from vilam.data.recipes import FormatReader, Recipe
from vilam.data.records import Keypoint, KeypointSchema, Point, Polygon
from vilam.errors import VilamError

MARKS = (
    *("annotation_id", "annotator", "completed_by", "completions", "file_upload", "from_name", "inner_id", "lead_time"),
    *("original_width", "to_name", "total_annotations", "was_cancelled"),
)
"""Keys of Label Studio; a file with three of them at its beginning is one of its exports."""
WHOLE = 100.0
SPLIT = "split"
"""What is beside a picture in a task's data to tell its split, as `vilam publish` writes it."""


def recognises(root: Path) -> Found | None:
    """A JSON file that begins with several of Label Studio's keys, in a folder, or such a file itself."""
    if root.is_file():
        if not _is_export(root):
            return None
        folder, pattern = place_of(root)
        return Found("Label Studio JSON", FormatReader(kind="labelstudio", files={ALL: pattern}), folder, CLEAR)
    if not any(map(_is_export, _files(root))):
        return None
    return Found("Label Studio JSON", FormatReader(kind="labelstudio"), root, CLEAR)


def open_labelstudio(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read the tasks and list their pictures, which are read one by one as the rows are iterated."""
    kept = KeptList[tuple[Item, list[Region]]]()
    problems: list[Problem] = []
    pictures = Pictures(root, uploaded)
    find = partial(pictures.first, folders=[root / folder for folder in (*reader.images, "images", "")])
    names: dict[str, None] = {}
    points: dict[str, dict[str, None]] = {}
    for split, file in files_of(root, reader, filter(_is_export, _files(root))):
        for location, task in tasks_of(file):
            try:
                work = work_of(task)
                if work is None:
                    continue
                data, results = work
                found = _items(root, split, location, data, regions_of(results), find)
                if not found:
                    raise ValueError("no picture among its data")
                for _, own in found:
                    _declare(own, names, points)
                captions = captions_of(results)
                for item, own in found:
                    kept.append((replace(item, captions=captions), own))
            except MALFORMED as error:
                problems.append(Problem(split, location, f"cannot be read: {wrong(error)}"))
    schemas = {name: KeypointSchema.without_sigmas(tuple(own)) for name, own in points.items()}
    if not len(kept) and not problems:
        raise VilamError(f"{root}: no task has been annotated; predictions are not read: annotate, and export again")
    items = LazyItems(kept, lambda entry: replace(entry[0], shapes=partial(_shapes, entry[1], points)))
    listing = Listing(items, list(names), schemas, problems, renamed=pictures.renamed)
    return source_of(listing, recipe, reader.together, reader.window)


def _files(root: Path) -> list[Path]:
    return sorted(root.glob("*.json")) or sorted(root.glob("*/*.json"))


def _is_export(file: Path) -> bool:
    head = head_of(file)
    return file.suffix == ".json" and sum(f'"{mark}"' in head for mark in MARKS) >= 3


def _items(
    root: Path, split: str, location: str, data: Row, regions: Mapping[str, Region], find: Callable[[list[str]], Path]
) -> list[tuple[Item, list[Region]]]:
    """The pictures of a task with their regions; several if its data name several; the split that its data tell."""
    split = str(data.get(SPLIT) or ALL) if split == ALL else split
    shown = [(key, number, text) for key, own in data.items() for number, text in enumerate(pictures_of(own))]
    found = []
    for key, number, text in shown:
        own = {name: one for name, one in regions.items() if len(shown) == 1 or one.picture == (key, number)}
        size = next((one.size for one in own.values() if one.size), None)
        place = location if len(shown) == 1 else f"{location}, {key} {number + 1}"
        if INLINE.match(text):
            content, name = partial(base64.b64decode, text.partition(",")[2]), place.rpartition(": ")[2]
            item = Item(content, name, split, place, size=size, whole=WHOLE)
        else:
            path = find(names_of(text))
            item = Item(path, under(root, path), split, place, size=size, whole=WHOLE)
        found.append((item, _with_keypoints(own)))
    if len(shown) > 1 and sum(len(own) for _, own in found) < sum(one.parent is None for one in regions.values()):
        raise ValueError("several pictures, and regions that name none of them")
    return found


def _with_keypoints(regions: Mapping[str, Region]) -> list[Region]:
    """The regions, each with the keypoints whose parent it is under ``children`` of its value."""
    for one in regions.values():
        if one.parent in regions and one.parent is not None:
            regions[one.parent].value.setdefault("children", []).append(one)
    return [one for one in regions.values() if one.parent not in regions]


def _declare(regions: Sequence[Region], names: dict[str, None], points: dict[str, dict[str, None]]) -> None:
    """Collect categories and, by category, the names of keypoints, in the order of the files."""
    for region in regions:
        for name in region.labels or ([OBJECT] if region.texts else []):
            names[name] = None
            for child in region.value.get("children", ()):
                points.setdefault(name, {}).update(dict.fromkeys(child.labels))


def _shapes(regions: Sequence[Region], points: Mapping[str, Mapping[str, None]]) -> list[Shape | Problem]:
    found: list[Shape | Problem] = []
    for number, region in enumerate(regions, start=1):
        labels = region.labels or ([OBJECT] if region.texts else [])
        location = f"region {number}"
        if not labels:
            found.append(Problem("", location, "a region without a label"))
        for label in labels:
            try:
                shape = replace(_shape(region), category=label, expressions=tuple(region.texts), location=location)
                found.append(replace(shape, keypoints=_keypoints(region, points.get(label, {}))))
            except MALFORMED as error:
                found.append(Problem("", location, wrong(error), category=label))
    return found


def _keypoints(region: Region, names: Mapping[str, None]) -> tuple[Keypoint, ...]:
    children = region.value.get("children", ())
    own = {label: one.value for one in children for label in one.labels}
    places = [own.get(name) for name in names] if children else []
    return tuple((float(one["x"]), float(one["y"]), 2) if one else (0.0, 0.0, 0) for one in places)


def _shape(region: Region) -> Shape:
    """The region's outline or box in per cents of the picture's sides."""
    value = region.value
    if region.turn:
        raise ValueError(f"the picture was turned by {region.turn:g} degrees in the editor, and its regions with it")
    if "rle" in value:
        return _of_mask(region, brush_to_mask(value["rle"], *_sides(region)))
    if "imageDataURL" in value:
        content = base64.b64decode(str(value["imageDataURL"]).partition(",")[2])
        return _of_mask(region, png_to_mask(content))
    if "points" in value:
        ring = tuple((float(x), float(y)) for x, y in value["points"])
        if len(ring) < 3 or value.get("closed") is False:
            raise ValueError(f"an open line of {len(ring)} points is no object")
        return Shape("", polygons=(ring,))
    if "radiusX" in value:
        return _of_pixels(
            region, ellipse(_pixels(region, "x", "y"), _pixels(region, "radiusX", "radiusY"), _turn(value))
        )
    if "height" in value:
        x, y, width, height = (float(value[key]) for key in ("x", "y", "width", "height"))
        if not _turn(value):
            return Shape("", (x, y, x + width, y + height))
        (left, top), (across, down) = _pixels(region, "x", "y"), _pixels(region, "width", "height")
        return _of_pixels(region, rotated(corners((left, top, left + across, top + down)), _turn(value), (left, top)))
    raise ValueError(
        "a keypoint that belongs to no region" if {"x", "y"} <= set(value) else "an unknown kind of region"
    )


def _turn(value: Row) -> float:
    return float(value.get("rotation") or 0)


def _sides(region: Region) -> tuple[int, int]:
    if region.size is None:
        raise ValueError("original_width and original_height are missing")
    return region.size


def _pixels(region: Region, across: str, down: str) -> Point:
    width, height = _sides(region)
    return float(region.value[across]) * width / WHOLE, float(region.value[down]) * height / WHOLE


def _of_pixels(region: Region, ring: Polygon) -> Shape:
    width, height = _sides(region)
    return Shape("", polygons=(tuple((x / width * WHOLE, y / height * WHOLE) for x, y in ring),))


def _of_mask(region: Region, mask: Any) -> Shape:
    """The outlines of a mask of the whole picture."""
    height, width = mask.shape
    shape = mask_shape("", mask)
    x1, y1, x2, y2 = shape.box_xyxy or (0, 0, 0, 0)
    across, down = WHOLE / width, WHOLE / height
    rings = tuple(tuple((x * across, y * down) for x, y in ring) for ring in shape.polygons)
    return Shape("", (x1 * across, y1 * down, x2 * across, y2 * down), rings)


FORMAT = Format(
    "labelstudio",
    "Label Studio JSON",
    "an export «JSON» or «JSON-MIN» (*.json) and the pictures by the names of their uploads, in any folder",
    "boxes, outlines, turned boxes, ellipses, brushes, keypoints with a parent, texts of regions, captions",
    "choices, ratings, relations, predictions, drafts, the other annotators, angles; texts of JSON-MIN",
    recognises,
    open_labelstudio,
)
