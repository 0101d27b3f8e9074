"""Whether the numbers of a COCO file are what COCO means by them: x, y, width and height in pixels.

A single box does not tell; all boxes of a file do: shares of the picture are never above 1, and corners, or a centre,
that are read as x, y, width and height lie beyond the picture, beside their own outlines, or have another area.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from vilam.data.readers.source import MALFORMED
from vilam.geometry.boxes import TO_XYXY, Box, BoxOrder

ENOUGH = 3
"""Boxes from which their numbers tell something."""
SHARES = "multiply x and width by the picture's width, y and height by its height"
MOST, SOME = 0.98, 0.05
SLACK = 2.0
"""Pixels by which a box may differ from its outline's, or lie outside of its picture."""
AREA_SLACK = 0.02
"""Fraction of the told area by which a box's own may differ."""

CONVENTIONS: dict[str, BoxOrder] = {
    "x, y, width, height": "xywh",
    "x1, y1, x2, y2": "xyxy",
    "centre x, centre y, width, height": "cxcywh",
}
"""What the four numbers may be, COCO's own meaning first."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The four numbers of a bbox, the sides of its picture, the box around its outline, and the area in square pixels.

    None: the file does not tell.
    """

    bbox: tuple[float, float, float, float]
    size: tuple[int, int] | None
    outline: Box | None = None
    area: float | None = None


def fault_of(samples: Iterable[Sample]) -> str | None:
    """What is wrong with the boxes of a file, and what to do; None if nothing is."""
    listed = list(samples)
    if len(listed) < ENOUGH:
        return None
    if _share(all(abs(value) <= 1 for value in one.bbox) for one in listed) >= MOST:
        return f"bbox holds shares of the picture (0 to 1), not pixels: {SHARES}"
    own, *others = CONVENTIONS
    for name in others:
        if _by_outline(listed, name) or _by_picture(listed, name) or _by_area(listed, name):
            return f"bbox holds {name}, not {own}: convert it"
    return None


def _by_outline(samples: list[Sample], name: str) -> bool:
    """Whether the outlines are in the boxes as this convention reads them, and not as COCO does."""
    return _explains([one for one in samples if one.outline is not None], name, _agrees)


def _by_picture(samples: list[Sample], name: str) -> bool:
    """Whether the boxes lie in their pictures as this convention reads them, and not as COCO does."""
    return _explains([one for one in samples if one.size is not None], name, _lies_in)


def _by_area(samples: list[Sample], name: str) -> bool:
    """Whether the boxes have their told areas as this convention reads them, and not as COCO does."""
    return _explains([one for one in samples if one.area is not None], name, _has_area)


def _explains(samples: list[Sample], name: str, fits: Callable[[Sample, str], bool]) -> bool:
    own = next(iter(CONVENTIONS))
    strange = sum(not fits(one, own) for one in samples)
    return strange >= max(ENOUGH, SOME * len(samples)) and _share(fits(one, name) for one in samples) >= MOST


def _share(truths: Iterable[bool]) -> float:
    listed = list(truths)
    return sum(listed) / len(listed)


def _agrees(sample: Sample, name: str) -> bool:
    pairs = zip(TO_XYXY[CONVENTIONS[name]](sample.bbox), sample.outline or (), strict=True)
    return all(abs(a - b) <= SLACK for a, b in pairs)


def _lies_in(sample: Sample, name: str) -> bool:
    x1, y1, x2, y2 = TO_XYXY[CONVENTIONS[name]](sample.bbox)
    width, height = sample.size or (0, 0)
    return -SLACK <= x1 < x2 <= width + SLACK and -SLACK <= y1 < y2 <= height + SLACK


def _has_area(sample: Sample, name: str) -> bool:
    x1, y1, x2, y2 = TO_XYXY[CONVENTIONS[name]](sample.bbox)
    told = sample.area or 0.0
    return x1 < x2 and y1 < y2 and abs((x2 - x1) * (y2 - y1) - told) <= AREA_SLACK * told


def sample_of(row: dict[str, Any], size: tuple[int, int] | None) -> Sample | None:
    """The numbers of a bbox with an area, for the statistics of its file."""
    try:
        x, y, width, height = (float(value) for value in row["bbox"])
        bbox, area = (x, y, width, height), row.get("area")
        told = None if area is None else float(area)
        return Sample(bbox, size, _around(row.get("segmentation")), told) if width and height else None
    except MALFORMED:
        return None


def _around(segmentation: object) -> Box | None:
    """The box around rings of numbers; None for run lengths, or if there are none."""
    rings = [ring for ring in segmentation if ring] if isinstance(segmentation, list) else []
    if not rings or not all(isinstance(ring, list) for ring in rings):
        return None
    across, down = ([float(value) for ring in rings for value in ring[axis::2]] for axis in (0, 1))
    return min(across), min(down), max(across), max(down)
