"""The shapes of a scene: outlines and keypoints in whole quarter pixels, so that every machine draws the same.

A shape is given upright in thousandths of its radius, x right and y down, and turned clockwise by whole degrees.
Each shape but the arrow is turned by less than half of its symmetry, so that "the top corner" keeps its meaning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vilam.data.records import KeypointSchema

SUBPIXELS = 4
"""Quarter pixels a pixel: the frame in which outlines are whole numbers, and what they are drawn at."""

Vertex = tuple[int, int]
_ONE = 1 << 14
_SINES = tuple(round(math.sin(math.radians(degree)) * _ONE) for degree in range(360))


def _turn(point: Vertex, degrees: int) -> Vertex:
    sine, cosine = _SINES[degrees % 360], _SINES[(degrees + 90) % 360]
    x, y = point
    return (x * cosine - y * sine) // _ONE, (x * sine + y * cosine) // _ONE


def _rays(radius: int, count: int, first: int = 0) -> tuple[Vertex, ...]:
    return tuple(_turn((0, -radius), first + 360 * number // count) for number in range(count))


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of shape: outline, hole and keypoints in thousandths of the radius, and how far it may turn."""

    outline: tuple[Vertex, ...]
    keypoint_names: tuple[str, ...]
    keypoints: tuple[Vertex, ...]
    max_turn: int
    skeleton: tuple[tuple[int, int], ...] = ()
    hole: tuple[Vertex, ...] = ()


def _ring_of_bones(count: int) -> tuple[tuple[int, int], ...]:
    return tuple((number, (number + 1) % count) for number in range(count))


def _star() -> tuple[Vertex, ...]:
    tips, dents = _rays(1180, 5), _rays(500, 5, 36)
    return tuple(point for pair in zip(tips, dents, strict=True) for point in pair)


def _cross(arm: int, half: int) -> tuple[Vertex, ...]:
    end = ((-half, -half), (-half, -arm), (half, -arm))
    return tuple(_turn(point, 90 * quarter) for quarter in range(4) for point in end)


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
"""The farthest that any outline reaches from its middle, in thousandths of the radius."""


def place(points: tuple[Vertex, ...], radius: int, turn: int, centre: Vertex) -> list[Vertex]:
    """Turn, size and move points of a shape: thousandths of the radius -> quarter pixels of the image."""
    turned = (_turn(point, turn) for point in points)
    return [(centre[0] + x * radius // 1000, centre[1] + y * radius // 1000) for x, y in turned]


def keypoint_schemas() -> dict[str, KeypointSchema]:
    """Keypoints of each category; one sigma for all, as each is a sharp point of a drawn shape."""
    return {
        name: KeypointSchema(shape.keypoint_names, shape.skeleton, (0.08,) * len(shape.keypoints))
        for name, shape in SHAPES.items()
    }
