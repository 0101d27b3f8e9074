"""Polygons: orientation, starting point and resampling of any simple ring."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilam.geometry import polygons

SQUARE = [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)]


@st.composite
def rings(draw: st.DrawFn) -> list[tuple[float, float]]:
    """A star-shaped ring around (50, 50), in either direction and from any of its points."""
    radii = draw(st.lists(st.floats(1, 40), min_size=3, max_size=12))
    points = [
        (50 + radius * math.cos(math.tau * number / len(radii)), 50 + radius * math.sin(math.tau * number / len(radii)))
        for number, radius in enumerate(radii)
    ]
    start = draw(st.integers(0, len(points) - 1))
    shifted = points[start:] + points[:start]
    return shifted[::-1] if draw(st.booleans()) else shifted


def test_area_is_positive_for_a_clockwise_ring() -> None:
    assert polygons.area(SQUARE) == 16
    assert polygons.area(SQUARE[::-1]) == -16


@settings(max_examples=40, deadline=None)
@given(rings())
def test_a_clockwise_ring_starts_at_its_topmost_point(ring: list[tuple[float, float]]) -> None:
    found = polygons.clockwise(ring)
    assert polygons.area(found) == pytest.approx(abs(polygons.area(ring)))
    assert tuple(found[0]) == min(ring, key=lambda point: (point[1], point[0]))
    np.testing.assert_array_equal(found, polygons.clockwise(found[::-1]))


@settings(max_examples=40, deadline=None)
@given(rings())
def test_resampled_points_are_on_the_ring_at_equal_distances(ring: list[tuple[float, float]]) -> None:
    fine = polygons.resample(ring, 2000)
    closed = np.vstack([fine, fine[:1]])
    perimeter = math.fsum(math.dist(a, b) for a, b in zip(ring, ring[1:] + ring[:1], strict=True))
    assert np.hypot(*np.diff(closed, axis=0).T).max() <= perimeter / 2000 + 1e-9
    points = polygons.resample(ring)
    assert points.shape == (25, 2)
    np.testing.assert_allclose(points, fine[::80], atol=1e-9)


def test_resampling_a_square_by_four_gives_its_corners() -> None:
    np.testing.assert_allclose(polygons.resample(SQUARE[::-1], 4), SQUARE)


def test_box_of_a_ring() -> None:
    assert polygons.polygon_box([(3, 9), (1, 5), (7, 6)]) == (1, 5, 7, 9)


@settings(max_examples=40, deadline=None)
@given(st.lists(rings(), min_size=1, max_size=4))
def test_joined_rings_have_all_points_and_the_area_of_all(parts: list[list[tuple[float, float]]]) -> None:
    apart = [[(x + 200 * number, y) for x, y in ring] for number, ring in enumerate(parts)]
    found = polygons.joined(apart)
    assert {tuple(point) for point in found} == {point for ring in apart for point in ring}
    assert abs(polygons.area(found)) == pytest.approx(sum(abs(polygons.area(ring)) for ring in apart))
    assert len(found) == sum(map(len, apart)) + 2 * (len(apart) - 1)


def test_a_ring_alone_is_not_turned() -> None:
    assert polygons.joined([SQUARE[::-1]]).tolist() == [list(point) for point in SQUARE[::-1]]
