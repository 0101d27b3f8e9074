"""Figures that annotation tools draw, as rings: ellipses, rotated boxes, masks in a window; and parts of one object."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image

from vilam.data.masks import Mask, mask_box, mask_to_polygons
from vilam.data.readers.items import Shape
from vilam.data.readers.source import Problem
from vilam.data.records import Point, Polygon
from vilam.geometry.boxes import Box
from vilam.geometry.polygons import polygon_box

ROUND = 64
"""Points of an ellipse's ring; it lies within 0.13 % of the larger radius."""
MOST_PIXELS = 1 << 28
"""Of a mask that is decoded; above it, the file is taken for a broken one."""


def rotated(points: Sequence[Point], degrees: float, about: Point) -> Polygon:
    """Points (pixels, x right and y down) turned clockwise, as seen on the screen, about a point."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return tuple(
        (about[0] + (x - about[0]) * cos - (y - about[1]) * sin, about[1] + (x - about[0]) * sin + (y - about[1]) * cos)
        for x, y in points
    )


def corners(box: Box) -> Polygon:
    """The four corners of a box_xyxy, clockwise from the upper left one."""
    x1, y1, x2, y2 = box
    return (x1, y1), (x2, y1), (x2, y2), (x1, y2)


def sorted_box(first: Point, second: Point) -> Box:
    """The box_xyxy between two opposite corners in any order."""
    return polygon_box([first, second])


def ellipse(centre: Point, radii: Point, degrees: float = 0.0) -> Polygon:
    """The ring of an ellipse (centre and radii in pixels), turned clockwise; raises ValueError if it has no area."""
    if not min(radii) > 0:
        raise ValueError(f"ellipse of no area: radii {radii[0]:g} and {radii[1]:g}")
    angles = (2 * math.pi * number / ROUND for number in range(ROUND))
    ring = [(centre[0] + radii[0] * math.cos(one), centre[1] + radii[1] * math.sin(one)) for one in angles]
    return rotated(ring, degrees, centre)


def mask_shape(category: str, mask: Mask, left: float = 0.0, top: float = 0.0) -> Shape:
    """The object of a bool mask [height, width] whose upper left pixel is at (left, top); ValueError if it is empty."""
    if not mask.any():
        raise ValueError("an empty mask")
    x1, y1, x2, y2 = mask_box(mask)
    rings = tuple(tuple((x + left, y + top) for x, y in ring) for ring in mask_to_polygons(mask))
    return Shape(category, (x1 + left, y1 + top, x2 + left, y2 + top), rings)


def runs_to_mask(runs: Sequence[int], width: int, height: int) -> Mask:
    """Run lengths row by row, the first of them outside of the object, as a bool mask [height, width].

    Raises ValueError if they do not add up to the number of pixels.
    """
    check_pixels(width, height)
    if min(runs, default=-1) < 0 or sum(runs) != width * height:
        raise ValueError(f"run lengths of {sum(runs)} pixels for a {width}x{height} mask")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def check_pixels(width: int, height: int) -> None:
    """Raises ValueError if a mask of these sides has no pixel, or more than any picture."""
    if width < 1 or height < 1 or width * height > MOST_PIXELS:
        raise ValueError(f"a mask of {width}x{height} pixels")


def png_to_mask(content: bytes) -> Mask:
    """An encoded picture as a bool mask [height, width]: its opaque pixels, or those that are not black.

    Raises ValueError if it is no picture.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            check_pixels(*image.size)
            if image.mode in ("RGBA", "LA", "PA"):
                return np.asarray(image.getchannel("A")) > 0
            values = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"a mask that is no picture: {error}") from None
    return np.asarray(values.any(axis=-1) if values.ndim == 3 else values > 0)


def joined(parts: Sequence[tuple[Hashable | None, Shape | Problem]]) -> list[Shape | Problem]:
    """The objects of parts, each with the key of its object; None for a part that is an object itself."""
    found: dict[Hashable, Problem | list[Shape]] = {}
    for number, (key, part) in enumerate(parts):
        own: Hashable = ("alone", number) if key is None or isinstance(part, Problem) else ("object", key)
        before = found.get(own)
        if isinstance(part, Problem):
            found[own] = part
        else:
            found[own] = [*before, part] if isinstance(before, list) else [part]
    return [one if isinstance(one, Problem) else _object(one) for one in found.values()]


def _object(parts: Sequence[Shape]) -> Shape:
    """One object of its parts. A box that the outlines do not fill is one of its outlines."""
    first, *others = parts
    if not others:
        return first
    around = polygon_box([point for part in parts for point in _reach(part)])
    rings = [ring for part in parts for ring in part.polygons]
    if rings:
        inside = polygon_box([point for ring in rings for point in ring])
        alone = [part.box_xyxy for part in parts if part.box_xyxy and not part.polygons]
        rings += [corners(box) for box in alone if not _within(box, inside)]
    points = next((part.keypoints for part in parts if part.keypoints), ())
    texts = tuple(text for part in parts for text in part.expressions)
    return replace(first, box_xyxy=around, polygons=tuple(rings), keypoints=points, expressions=texts)


def _reach(part: Shape) -> list[Point]:
    """The points that bound a part."""
    if part.box_xyxy is not None:
        return list(corners(part.box_xyxy))
    return [point for ring in part.polygons for point in ring] or [(x, y) for x, y, v in part.keypoints if v]


def _within(inner: Box, outer: Box, slack: float = 2.0) -> bool:
    low = all(mine >= other - slack for mine, other in zip(inner[:2], outer[:2], strict=True))
    return low and all(mine <= other + slack for mine, other in zip(inner[2:], outer[2:], strict=True))
