"""Polygons as rings of points (N, 2) in pixels, x right and y down, the first point not repeated. numpy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from vilam.geometry.boxes import Box, FloatArray


def area(polygon: ArrayLike) -> float:
    """Signed shoelace area of a ring (N, 2); positive if it runs clockwise as seen on the screen (y down)."""
    points = _points(polygon)
    following = np.roll(points, -1, axis=0)
    return float(np.sum(points[:, 0] * following[:, 1] - following[:, 0] * points[:, 1]) / 2)


def clockwise(polygon: ArrayLike) -> FloatArray:
    """The same ring, clockwise as seen on the screen, from its topmost (then leftmost) point; (N, 2) -> (N, 2)."""
    points = _points(polygon)
    if area(points) < 0:
        points = points[::-1]
    first = int(np.lexsort((points[:, 0], points[:, 1]))[0])
    return np.roll(points, -first, axis=0)


def resample(polygon: ArrayLike, count: int = 25) -> FloatArray:
    """``count`` points equally spaced along the perimeter, clockwise from the topmost point; (N, 2) -> (count, 2)."""
    ring = clockwise(polygon)
    closed = np.concatenate([ring, ring[:1]])
    lengths = np.hypot(*np.diff(closed, axis=0).T)
    distances = np.concatenate([[0.0], np.cumsum(lengths)])
    positions = np.arange(count) * (distances[-1] / count)
    return np.stack([np.interp(positions, distances, closed[:, axis]) for axis in (0, 1)], axis=1)


def polygon_box(polygon: ArrayLike) -> Box:
    """The smallest box_xyxy around a ring (N, 2)."""
    points = _points(polygon)
    (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
    return float(x1), float(y1), float(x2), float(y2)


def joined(rings: Sequence[ArrayLike]) -> FloatArray:
    """One ring (N, 2) that covers what several rings cover, for formats with one outline for each object.

    A ring alone stays as it is. Of several, all clockwise, each further one is walked around from its point that is
    nearest to the ring so far, along a bridge of no area.
    """
    if len(rings) == 1:
        return _points(rings[0])
    ring, *others = map(clockwise, rings)
    for further in others:
        distances = np.hypot(*(ring[:, None] - further[None]).transpose(2, 0, 1))
        here, there = np.unravel_index(int(distances.argmin()), distances.shape)
        detour = np.concatenate([np.roll(further, -int(there), axis=0), further[there : there + 1]])
        ring = np.concatenate([ring[: here + 1], detour, ring[here:]])
    return ring


def _points(polygon: ArrayLike) -> FloatArray:
    return np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
