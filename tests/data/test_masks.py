"""Masks: polygons and run lengths to masks and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from vilam.data import masks
from vilam.geometry.polygons import area


def test_a_rectangle_covers_its_pixels() -> None:
    mask = masks.polygons_to_mask([[(2, 3), (6, 3), (6, 8), (2, 8)]], 12, 10)
    expected = np.zeros((10, 12), dtype=bool)
    expected[3:8, 2:6] = True
    np.testing.assert_array_equal(mask, expected)
    assert masks.mask_box(mask) == (2, 3, 6, 8)


def test_polygons_without_area_give_an_empty_mask_and_back() -> None:
    empty = masks.polygons_to_mask([[(1, 1), (2, 2)]], 8, 6)
    assert empty.shape == (6, 8) and not empty.any()
    assert masks.mask_to_polygons(empty) == ()
    assert masks.mask_box(empty) == (0, 0, 0, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_polygons_of_a_mask_give_the_same_mask(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    mask = np.zeros((40, 50), dtype=bool)
    for _ in range(3):
        top, left = numbers.integers(0, 30, 2)
        mask[top : top + numbers.integers(4, 12), left : left + numbers.integers(4, 12)] = True
    rings = masks.mask_to_polygons(mask)
    again = masks.polygons_to_mask(rings, 50, 40)
    assert np.count_nonzero(mask & again) >= 0.97 * np.count_nonzero(mask | again), "a hole between them is filled"
    assert all(area(ring) > 0 for ring in rings)


def test_parts_are_ordered_by_size_and_tiny_ones_are_left_out() -> None:
    mask = np.zeros((20, 40), dtype=bool)
    mask[2:6, 2:6] = mask[2:12, 20:32] = mask[15, 15] = True
    rings = masks.mask_to_polygons(mask)
    assert len(rings) == 2
    assert area(rings[0]) > area(rings[1])
    assert len(masks.mask_to_polygons(mask, max_parts=1)) == 1


def test_compressed_and_plain_run_lengths_are_read() -> None:
    mask = np.zeros((7, 9), dtype=bool)
    mask[2:5, 3:8] = True
    compressed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    np.testing.assert_array_equal(masks.rle_to_mask(compressed), mask)
    flat = mask.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    np.testing.assert_array_equal(masks.rle_to_mask({"size": [7, 9], "counts": counts}), mask)
