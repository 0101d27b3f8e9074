"""The shapes of a scene: polygons and keypoints in whole quarter pixels, so that every machine draws the same.

A shape is defined upright in thousandths of its radius, x right and y down, and rotated clockwise by whole degrees.
Each shape except the arrow is rotated by less than half of its symmetry, so that "the top corner" keeps its meaning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vilam.data.records import KeypointSchema

SUBPIXELS = 4
"""Quarter pixels in a pixel: polygons are whole numbers in this unit, and are drawn at this scale."""

Vertex = tuple[int, int]
_ONE = 1 << 14
_SINES = tuple(round(math.sin(math.radians(degree)) * _ONE) for degree in range(360))


def _rotate(point: Vertex, degrees: int) -> Vertex:
    sine, cosine = _SINES[degrees % 360], _SINES[(degrees + 90) % 360]
    x, y = point
    return (x * cosine - y * sine) // _ONE, (x * sine + y * cosine) // _ONE


def _rays(radius: int, count: int, first: int = 0) -> tuple[Vertex, ...]:
    return tuple(_rotate((0, -radius), first + 360 * number // count) for number in range(count))


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of shape: polygon, hole and keypoints in thousandths of the radius, and its largest rotation."""

    polygon: tuple[Vertex, ...]
    keypoint_names: tuple[str, ...]
    keypoints: tuple[Vertex, ...]
    max_rotation: int
    skeleton: tuple[tuple[int, int], ...] = ()
    hole: tuple[Vertex, ...] = ()


def _ring_of_bones(count: int) -> tuple[tuple[int, int], ...]:
    return tuple((number, (number + 1) % count) for number in range(count))


def _star() -> tuple[Vertex, ...]:
    tips, dents = _rays(1180, 5), _rays(500, 5, 36)
    return tuple(point for pair in zip(tips, dents, strict=True) for point in pair)


def _cross(arm: int, half: int) -> tuple[Vertex, ...]:
    end = ((-half, -half), (-half, -arm), (half, -arm))
    return tuple(_rotate(point, 90 * quarter) for quarter in range(4) for point in end)


_SIDES = ("top", "right", "bottom", "left")
_CORNERS = ("top_left", "top_right", "bottom_right", "bottom_left")
_ARROW = ((0, -1100), (800, -150), (320, -150), (320, 1000), (-320, 1000), (-320, -150), (-800, -150))

SHAPES: dict[str, Shape] = {
    "circle": Shape(_rays(1000, 40), ("centre",), ((0, 0),), 0),
    "square": Shape(_rays(1240, 4, 315), _CORNERS, _rays(1240, 4, 315), 30, _ring_of_bones(4)),
    "triangle": Shape(_rays(1240, 3), ("top", "bottom_right", "bottom_left"), _rays(1240, 3), 40, _ring_of_bones(3)),
    "star": Shape(
        _star(), ("top", "right", "bottom_right", "bottom_left", "left"), _rays(1180, 5), 24, _ring_of_bones(5)
    ),
    "cross": Shape(_cross(1100, 360), _SIDES, _rays(1100, 4), 30, ((0, 2), (1, 3))),
    "ring": Shape(_rays(1000, 40), _SIDES, _rays(1000, 4), 0, _ring_of_bones(4), _rays(520, 32)),
    "arrow": Shape(_ARROW, ("tip", "tail"), ((0, -1100), (0, 1000)), 180, ((0, 1),)),
}
"""By category name."""

REACH = 1240
"""The largest distance of a vertex from the centre, in thousandths of the radius."""


def transform(points: tuple[Vertex, ...], radius: int, rotation: int, centre: Vertex) -> list[Vertex]:
    """Rotate, scale and move points of a shape: thousandths of the radius -> quarter pixels of the image."""
    rotated = (_rotate(point, rotation) for point in points)
    return [(centre[0] + x * radius // 1000, centre[1] + y * radius // 1000) for x, y in rotated]


def keypoint_schemas() -> dict[str, KeypointSchema]:
    """Keypoints of each category, all with one sigma, since each is a sharp point of a drawn shape."""
    return {
        name: KeypointSchema(shape.keypoint_names, shape.skeleton, (0.08,) * len(shape.keypoints))
        for name, shape in SHAPES.items()
    }
