"""Boxes against pycocotools, transformers and plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from transformers.loss.loss_for_object_detection import generalized_box_iou

from vilam.geometry import boxes

SIDES = st.floats(0, 100, width=32)


def test_iou_equals_that_of_pycocotools() -> None:
    numbers = np.random.default_rng(0)
    xywh = numbers.uniform(0, 50, (2, 20, 4))
    xyxy = np.concatenate([xywh[..., :2], xywh[..., :2] + xywh[..., 2:]], axis=-1)
    expected = coco_mask.iou(xywh[0], xywh[1], [0] * 20)
    np.testing.assert_allclose(boxes.iou(xyxy[0], xyxy[1]), expected, atol=1e-12)


def test_the_generalised_iou_equals_that_of_transformers() -> None:
    corners = np.random.default_rng(0).uniform(0, 50, (2, 20, 2, 2))
    found, true = np.sort(corners, axis=2).reshape(2, 20, 4)
    expected = generalized_box_iou(torch.from_numpy(found), torch.from_numpy(true)).numpy()
    assert expected.min() < -0.5 and expected.max() > 0.3
    np.testing.assert_allclose(boxes.giou(found, true), expected, atol=1e-12)


def test_the_generalised_iou_of_boxes_without_area_is_a_number() -> None:
    assert boxes.giou([[1, 1, 1, 1]], [[1, 1, 1, 1], [0, 0, 2, 2], [2, 1, 2, 1]]).tolist() == [[0, 0, 0]]
    assert boxes.giou([[0, 0, 1, 1]], [[3, 0, 4, 1]]).tolist() == [[-0.5]]


@settings(max_examples=30, deadline=None)
@given(SIDES, SIDES, st.floats(0.5, 50), st.floats(0.5, 50))
def test_iou_of_a_box_is_one_with_itself_and_zero_with_a_neighbour(
    x: float, y: float, width: float, height: float
) -> None:
    box = boxes.xywh_to_xyxy((x, y, width, height))
    assert boxes.box_iou(box, box) == pytest.approx(1)
    assert boxes.box_iou(box, (x + width, y, x + 2 * width, y + height)) == 0


def test_iou_of_no_boxes_is_empty_and_of_boxes_without_area_zero() -> None:
    assert boxes.iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert boxes.box_iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0


def test_clip_keeps_the_part_inside() -> None:
    assert boxes.clip_box((-5, 2, 30, 8), 20, 10) == (0, 2, 20, 8)
    assert boxes.area(boxes.clip_box((30, 2, 40, 8), 20, 10)) == 0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 2000), st.integers(1, 2000), st.lists(st.integers(0, 1000), min_size=4, max_size=4))
def test_integers_survive_the_conversion_to_pixels_and_back(width: int, height: int, numbers: list[int]) -> None:
    pixels = boxes.unscale_1000(numbers, width, height)
    assert pixels[1] == pytest.approx(numbers[1] * height / 1000)
    assert boxes.scale(pixels, width, height, 1000).tolist() == numbers


def test_scaling_rounds_and_clips() -> None:
    assert boxes.scale([[10, 10], [-3, 300]], 96, 200, 1000).tolist() == [[104, 50], [0, 1000]]
