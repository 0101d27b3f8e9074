"""RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO: human expressions in the formats of vilam/data/readers/refcoco_formats.py.

Images of train2014 are in ``images``, in the root, or where the `refer` release has them. If there is an
``instances*.json`` of COCO, polygons, keypoints and categories come from it. Boxes are in pixels of the original image
and are scaled if the image file has another size (a plain resize, without cropping).

Splits have their usual names (refcoco_testA, refcoco_plus_val, refcocog_umd_test). The train splits of all sets are
merged into train, without the images of the other splits: the three sets share images, and their splits overlap. An
image that two splits use is a record in each. An expression of gRefCOCO that means one region is also an expression of
that region.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from vilam.data.readers.coco_files import instance_files, read_file
from vilam.data.readers.coco_rows import PERSON, parse_keypoints, parse_polygons
from vilam.data.readers.refcoco_formats import GroupRow, read_rows
from vilam.data.readers.source import Problem, RawRecord, Source, find_image
from vilam.data.recipes import Recipe, RefcocoReader
from vilam.data.records import Expression, Group, ImageRecord, Region
from vilam.errors import VilamError
from vilam.geometry.boxes import box_iou, xywh_to_xyxy

UNKNOWN = "object"
"""The category of a region without a COCO annotation."""
SAME_BOX = 0.95
"""IoU from which a COCO annotation is the same region as that of an expression."""
FOLDERS = ("images", "train2014", "images/train2014", "images/mscoco/images/train2014", ".")
"""Folders that may hold the images of train2014."""

Row = dict[str, Any]


@dataclass(slots=True)
class _Ref:
    """One region: its box in the original image, its expressions and its COCO annotation."""

    box_xywh: tuple[float, float, float, float]
    annotation: Row
    expressions: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Image:
    """One image of one split; width and height are the original image's."""

    split: str
    location: str
    name: str
    width: int
    height: int
    refs: dict[str, _Ref] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)


def open_refcoco(root: Path, recipe: Recipe, reader: RefcocoReader) -> Source:
    """Group the rows under a root by split and image; the images are read one by one as the rows are iterated."""
    problems: list[Problem] = []
    images = _without_held_out(_group(root, reader.sets, _Instances(root), problems))
    if not images:
        first = f": {problems[0].location}: {problems[0].message}" if problems else ""
        wanted = ", ".join(reader.sets)
        raise VilamError(
            f"{root}: no rows of {wanted} in refs.jsonl, refcoco*_*.json, refcoco*/refs(*).p and the like{first}"
        )
    used = {ref.annotation.get("category", UNKNOWN) for image in images for ref in image.refs.values()}
    keypoints = {"person": PERSON} if "person" in used else {}
    splits = tuple(dict.fromkeys(image.split for image in images))
    rows = (row for image in images for row in _row(root, recipe, image))
    return Source(
        recipe.name, tuple(sorted(used)), keypoints, splits, (recipe.licence,), len(images), chain(problems, rows)
    )


class _Instances:
    """COCO annotations by image number, from the root's instances files."""

    def __init__(self, root: Path) -> None:
        self._by_image: dict[object, list[Row]] = {}
        for path in instance_files(root):
            content = read_file(path)
            names = {one["id"]: one["name"] for one in content.categories}
            for one in content.annotations:
                if one.get("category_id") in names and len(one.get("bbox", ())) == 4:
                    row = {**one, "category": names[one["category_id"]]}
                    self._by_image.setdefault(one["image_id"], []).append(row)

    def find(self, image: int | None, box_xywh: tuple[float, float, float, float]) -> Row:
        """The annotation with this box; empty if there is none."""
        box = xywh_to_xyxy(box_xywh)
        near = [(box_iou(box, xywh_to_xyxy(one["bbox"])), one) for one in self._by_image.get(image, [])]
        best, annotation = max(near, key=lambda pair: pair[0], default=(0.0, {}))
        return annotation if best >= SAME_BOX else {}


def _group(root: Path, sets: Container[str], instances: _Instances, problems: list[Problem]) -> list[_Image]:
    images: dict[tuple[str, str], _Image] = {}
    for row in read_rows(root):
        if isinstance(row, Problem):
            problems.append(row)
        elif row.dataset in sets:
            new = _Image(row.split, row.location, row.name, row.width, row.height)
            image = images.setdefault((row.split, row.name), new)
            if isinstance(row, GroupRow):
                _add_group(image, row)
                continue
            known = row.annotation
            annotation = instances.find(_number(row.name), row.box_xywh) if known is None else known
            entry = image.refs.setdefault(f"{row.dataset}_{row.ref}", _Ref(row.box_xywh, annotation))
            entry.annotation = entry.annotation or annotation
            entry.expressions.append(row.text)
    return list(images.values())


def _add_group(image: _Image, row: GroupRow) -> None:
    prefix = f"{row.dataset}_"
    for ref, box, annotation in row.members:
        image.refs.setdefault(prefix + ref, _Ref(box, annotation))
    if len(row.members) == 1:
        image.refs[prefix + row.members[0][0]].expressions.append(row.text)
    ids = tuple(f"{row.split}_{prefix}{ref}" for ref, _, _ in row.members)
    image.groups.append(Group(f"{row.split}_{prefix}{row.group}", row.text, ids))


def _number(name: str) -> int | None:
    """COCO's number of an image, from its file name."""
    found = re.search(r"(\d+)$", Path(name).stem)
    return int(found[1]) if found else None


def _without_held_out(images: list[_Image]) -> list[_Image]:
    held_out = {image.name for image in images if image.split != "train"}
    return [image for image in images if image.split != "train" or image.name not in held_out]


def _row(root: Path, recipe: Recipe, image: _Image) -> Iterator[RawRecord | Problem]:
    path = find_image(tuple(root / folder for folder in FOLDERS), image.name)
    if path is None:
        yield Problem(image.split, image.location, f"image file {image.name} not found in {root} or its images folder")
        return
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content)) as file:
            width, height = file.size
        scale = (width / image.width, height / image.height)
    except (OSError, ZeroDivisionError) as error:
        yield Problem(image.split, image.location, f"{path}: cannot be read: {error}")
        return
    regions = []
    for ref_id, ref in image.refs.items():
        try:
            regions.append(_region(f"{image.split}_{ref_id}", ref, scale))
        except (KeyError, TypeError, ValueError) as error:
            yield Problem(image.split, f"{image.location}, region {ref_id}", str(error))
    image_id = f"{image.split}_{Path(image.name).stem}"
    record = ImageRecord(image_id, image.split, content, width, height, recipe.name, recipe.licence)
    yield RawRecord(replace(record, regions=tuple(regions), groups=tuple(image.groups)), image.location)


def _region(region_id: str, ref: _Ref, scale: tuple[float, float]) -> Region:
    """The region in pixels of the image file, with each of its expressions once."""
    across, down = scale
    x1, y1, x2, y2 = xywh_to_xyxy(ref.box_xywh)
    rings = parse_polygons(ref.annotation.get("segmentation") or [])
    points = parse_keypoints(ref.annotation.get("keypoints"))
    return Region(
        region_id,
        (x1 * across, y1 * down, x2 * across, y2 * down),
        str(ref.annotation.get("category", UNKNOWN)),
        tuple(tuple((x * across, y * down) for x, y in ring) for ring in rings),
        tuple((x * across, y * down, v) for x, y, v in points),
        tuple(Expression(text) for text in dict.fromkeys(ref.expressions) if text),
    )
