"""Boxes as box_xyxy: (x1, y1, x2, y2), x right and y down; pixels unless a function says 0-1000. numpy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Box = tuple[float, float, float, float]
BoxOrder = Literal["xywh", "xyxy", "cxcywh"]
FloatArray = NDArray[np.float64]


def area(boxes: ArrayLike) -> FloatArray:
    """Areas of boxes (..., 4) -> (...); a box whose corners are swapped has area 0."""
    array = np.asarray(boxes, dtype=np.float64)
    sides: FloatArray = np.maximum(array[..., 2:] - array[..., :2], 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def iou(boxes_a: ArrayLike, boxes_b: ArrayLike) -> FloatArray:
    """Intersection over union of each pair of boxes, (N, 4) and (M, 4) -> (N, M); 0 if the union is empty."""
    a = np.asarray(boxes_a, dtype=np.float64).reshape(-1, 1, 4)
    b = np.asarray(boxes_b, dtype=np.float64).reshape(1, -1, 4)
    corners = np.concatenate([np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])], axis=-1)
    intersection = area(corners)
    union = area(a) + area(b) - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def giou(boxes_a: ArrayLike, boxes_b: ArrayLike) -> FloatArray:
    """Generalised IoU (Rezatofighi et al., 2019) of each pair of boxes, (N, 4) and (M, 4) -> (N, M); -1..1.

    The IoU minus the fraction of the smallest box around both that neither of them covers.
    """
    a = np.asarray(boxes_a, dtype=np.float64).reshape(-1, 1, 4)
    b = np.asarray(boxes_b, dtype=np.float64).reshape(1, -1, 4)
    around = area(np.concatenate([np.minimum(a[..., :2], b[..., :2]), np.maximum(a[..., 2:], b[..., 2:])], axis=-1))
    overlap = iou(boxes_a, boxes_b)
    union = (area(a) + area(b)) / (1 + overlap)  # the intersection is the union times the IoU
    return overlap - np.divide(around - union, around, out=np.zeros_like(around), where=around > 0)


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes, 0..1."""
    return float(iou([a], [b])[0, 0])


def xywh_to_xyxy(box: Sequence[float]) -> Box:
    """COCO's (x, y, width, height) -> (x1, y1, x2, y2), same frame."""
    x, y, width, height = (float(value) for value in box)
    return x, y, x + width, y + height


def cxcywh_to_xyxy(box: Sequence[float]) -> Box:
    """YOLO's (centre x, centre y, width, height) -> (x1, y1, x2, y2), same frame."""
    x, y, width, height = (float(value) for value in box)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def as_box(box: Sequence[float]) -> Box:
    """Four numbers (x1, y1, x2, y2) as a box_xyxy."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, x2, y2


TO_XYXY: dict[BoxOrder, Callable[[Sequence[float]], Box]] = {
    "xywh": xywh_to_xyxy,
    "xyxy": as_box,
    "cxcywh": cxcywh_to_xyxy,
}
"""How four numbers become a box_xyxy, by what they are."""


def clip_box(box: Sequence[float], width: float, height: float) -> Box:
    """The part of a box inside a width x height image; its area is 0 if the box lies outside."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return min(max(x1, 0.0), width), min(max(y1, 0.0), height), min(max(x2, 0.0), width), min(max(y2, 0.0), height)


def scale(values_xy: ArrayLike, width: float, height: float, parts: int) -> NDArray[np.int64]:
    """Pixels -> whole numbers 0..parts of the image's sides, rounded half up and clipped; same shape.

    values_xy: (..., 2n), x and y alternate: points (N, 2), boxes (N, 4) or one box (4,).
    """
    pixels = np.asarray(values_xy, dtype=np.float64)
    scaled = np.floor(pixels * parts / _sides(pixels, width, height) + 0.5)
    return np.clip(scaled, 0, parts).astype(np.int64)


def unscale_1000(values_xy: ArrayLike, width: float, height: float) -> FloatArray:
    """Numbers 0..1000 of the image's sides -> pixels; (..., 2n), x and y alternate, same shape."""
    numbers = np.asarray(values_xy, dtype=np.float64)
    return np.asarray(numbers * _sides(numbers, width, height) / 1000)


def _sides(values: FloatArray, width: float, height: float) -> FloatArray:
    return np.tile(np.array([width, height], dtype=np.float64), values.shape[-1] // 2)
