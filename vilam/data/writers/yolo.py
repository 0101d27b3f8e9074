"""YOLO as Ultralytics trains it: ``data.yaml``, ``images/SPLIT/NAME.jpg``, ``labels/SPLIT/NAME.txt``.

If categories have keypoints, and all of them the same ones, every object is a box with its keypoints, as Ultralytics
wants it: those of an object without keypoints are 0. Else an object is a box, or an outline if any object of the
picture has one: Ultralytics reads all lines of a file as outlines if one is. Boxes are then rectangles, and the parts
of an outline are joined by a bridge of no area. Words and captions have no place. Splits of other names than train and
val are tests.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from vilam.data.records import DatasetCard, ImageRecord, Point, Region
from vilam.data.writers.pictures import IMAGES, Records, write_pictures
from vilam.geometry.polygons import joined

logger = logging.getLogger(__name__)

DIGITS = 8
"""Decimals of a fraction."""


def write_yolo(card: DatasetCard, records: Records, folder: Path) -> None:
    """Write a data set into an empty folder; its images are those of the records, byte for byte."""
    numbers = {name: number for number, name in enumerate(card.categories)}
    points = _keypoint_names(card)
    for split in card.splits:
        for record, name in write_pictures(records(split), folder, split):
            path = (folder / "labels" / name).with_suffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in _lines(record, numbers, len(points))), encoding="utf-8")
    content = {**_folders(card), "names": dict(enumerate(card.categories))}
    if points:
        content |= {"kpt_shape": [len(points), 3], "kpt_names": {number: [*points] for number in numbers.values()}}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _folders(card: DatasetCard) -> dict[str, Any]:
    """The folders of train, val and test."""
    folders: dict[str, list[str]] = {}
    for split in card.splits:
        folders.setdefault(split if split in ("train", "val") else "test", []).append(f"{IMAGES}/{split}")
    return {split: own[0] if len(own) == 1 else own for split, own in folders.items()}


def _keypoint_names(card: DatasetCard) -> tuple[str, ...]:
    """The names of the keypoints that all categories with keypoints have; none if there are none, or they differ."""
    names = {schema.names: category for category, schema in card.keypoints.items()}
    if len(names) > 1:
        told = ", ".join(f"{category} has {len(own)}" for own, category in names.items())
        logger.warning("yolo: keypoints left out: Ultralytics knows one kind of them for all classes: %s", told)
        return ()
    if names:
        logger.warning("yolo: written as boxes with keypoints, which Ultralytics trains without outlines")
    return next(iter(names), ())


def _lines(record: ImageRecord, numbers: Mapping[str, int], num_points: int) -> list[str]:
    as_outlines = not num_points and any(region.polygons for region in record.regions)
    return [
        " ".join(
            [
                str(numbers[region.category]),
                *map(_digits, _values(region, record, as_outlines)),
                *(_points(region, record, num_points) if num_points else ()),
            ]
        )
        for region in record.regions
    ]


def _points(region: Region, record: ImageRecord, num_points: int) -> Iterator[str]:
    """The keypoints of an object as x, y and visibility."""
    for x, y, visibility in region.keypoints or ((0.0, 0.0, 0),) * num_points:
        yield from map(_digits, _fractions((x, y), record))
        yield str(visibility)


def _values(region: Region, record: ImageRecord, as_outline: bool) -> list[float]:
    x1, y1, x2, y2 = region.box_xyxy
    if as_outline:
        points = joined(region.polygons or [[(x1, y1), (x2, y1), (x2, y2), (x1, y2)]])
        return [value for x, y in points for value in _fractions((x, y), record)]
    return [*_fractions(((x1 + x2) / 2, (y1 + y2) / 2), record), *_fractions((x2 - x1, y2 - y1), record)]


def _fractions(point: Point, record: ImageRecord) -> Point:
    return float(point[0]) / record.width, float(point[1]) / record.height


def _digits(value: float) -> str:
    return f"{value:.{DIGITS}f}".rstrip("0").rstrip(".")
