"""YOLO as Ultralytics trains it: ``data.yaml``, ``images/SPLIT/NAME.jpg``, ``labels/SPLIT/NAME.txt``.

An object is a box, or an outline if any object of the picture has one: Ultralytics reads all lines of a file as
outlines if one is. Boxes are then rectangles, and the parts of an outline are joined by a bridge of no area. Words,
captions and keypoints have no place. Splits of other names than train and val are tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from vilam.data.records import DatasetCard, ImageRecord, Point, Region
from vilam.data.writers.pictures import IMAGES, Records, write_pictures
from vilam.geometry.polygons import joined

DIGITS = 8
"""Decimals of a fraction."""


def write_yolo(card: DatasetCard, records: Records, folder: Path) -> None:
    """Write a data set into an empty folder; its images are those of the records, byte for byte."""
    numbers = {name: number for number, name in enumerate(card.categories)}
    for split in card.splits:
        for record, name in write_pictures(records(split), folder, split):
            path = (folder / "labels" / name).with_suffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in _lines(record, numbers)), encoding="utf-8")
    content = {**_folders(card), "names": dict(enumerate(card.categories))}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _folders(card: DatasetCard) -> dict[str, Any]:
    """The folders of train, val and test."""
    folders: dict[str, list[str]] = {}
    for split in card.splits:
        folders.setdefault(split if split in ("train", "val") else "test", []).append(f"{IMAGES}/{split}")
    return {split: own[0] if len(own) == 1 else own for split, own in folders.items()}


def _lines(record: ImageRecord, numbers: Mapping[str, int]) -> list[str]:
    as_outlines = any(region.polygons for region in record.regions)
    return [
        " ".join([str(numbers[region.category]), *map(_digits, _values(region, record, as_outlines))])
        for region in record.regions
    ]


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
