"""Masks: polygons <-> bool masks <-> COCO's run lengths, by pycocotools and contourpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from contourpy import FillType, contour_generator
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from vilam.data.records import Point, Polygon
from vilam.geometry.boxes import FloatArray
from vilam.geometry.polygons import area, clockwise

Mask = NDArray[np.bool_]


def polygons_to_mask(polygons: Sequence[Sequence[Point]], width: int, height: int) -> Mask:
    """The union of rings (pixels, x right and y down) as a bool mask [height, width], rasterised as in COCO."""
    flat = [[float(value) for point in ring for value in point] for ring in polygons if len(ring) >= 3]
    if not flat:
        return np.zeros((height, width), dtype=bool)
    runs = coco_mask.merge(coco_mask.frPyObjects(flat, height, width))
    return np.asarray(coco_mask.decode(runs), dtype=bool)


def rle_to_mask(rle: dict[str, Any]) -> Mask:
    """COCO's run lengths, compressed or a list of counts, as a bool mask [height, width].

    Raises ValueError if the counts do not add up to the number of pixels.
    """
    height, width = (int(side) for side in rle["size"])
    if isinstance(rle["counts"], list) and sum(rle["counts"]) != height * width:
        raise ValueError(f"run lengths of {sum(rle['counts'])} pixels for a {width}x{height} mask")
    runs = coco_mask.frPyObjects(rle, height, width) if isinstance(rle["counts"], list) else rle
    return np.asarray(coco_mask.decode(runs), dtype=bool)


def mask_to_polygons(mask: Mask, min_area: float = 4.0, max_parts: int | None = None) -> tuple[Polygon, ...]:
    """Outer rings of a bool mask [H, W] in pixels, clockwise, the largest first; holes are filled.

    A pixel (column, row) covers [column, column + 1) x [row, row + 1). Parts smaller than ``min_area`` square
    pixels are left out, and all but the ``max_parts`` largest.
    """
    return contours(mask, 0.5, min_area)[:max_parts]


def contours(values: NDArray[Any], level: float, min_area: float) -> tuple[Polygon, ...]:
    """Outer rings around the parts of [H, W] above a level, in pixels, clockwise, the largest first; holes are filled.

    A value belongs to the centre of its pixel. Coordinates are rounded to 1/64 pixel, so that they are the same on
    machines whose last float bit differs; points inside a straight line are left out.
    """
    padded = np.pad(values, 1).astype(np.float64)
    filled = contour_generator(z=padded, fill_type=FillType.OuterOffset).filled(level, np.inf)
    polygons, offsets = cast(tuple[list[FloatArray], list[NDArray[np.uint32]]], filled)
    rings = [_simplified(points[: ends[1] - 1] - 0.5) for points, ends in zip(polygons, offsets, strict=True)]
    kept = sorted((ring for ring in rings if area(ring) >= min_area), key=area, reverse=True)
    return tuple(tuple((float(x), float(y)) for x, y in ring) for ring in kept)


def _simplified(ring: FloatArray) -> FloatArray:
    rounded = np.round(ring * 64) / 64
    back, onward = rounded - np.roll(rounded, 1, axis=0), np.roll(rounded, -1, axis=0) - rounded
    bent = back[:, 0] * onward[:, 1] != back[:, 1] * onward[:, 0]
    return clockwise(rounded[bent]) if bent.any() else rounded[:1]


def mask_box(mask: Mask) -> tuple[float, float, float, float]:
    """box_xyxy around the True pixels of a mask [H, W]; all 0 if there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
