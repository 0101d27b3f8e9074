"""Metrics of keypoints: OKS and PCK. numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def oks(predicted: ArrayLike, true: ArrayLike, area: float, sigmas: ArrayLike) -> float:
    """COCO's object keypoint similarity, 0..1, over the labelled keypoints (v > 0); 0 if none is labelled.

    Source: pycocotools ``COCOeval.computeOks``: mean of exp(-d^2 / (2 * area * (2 * sigma)^2)).

    predicted: (K, 2) pixels. true: (K, 3), (x, y, v). area: of the object, in square pixels. sigmas: (K,).
    """
    truth = np.asarray(true, dtype=np.float64)
    labelled = truth[:, 2] > 0
    if not labelled.any():
        return 0.0
    squared = np.sum((np.asarray(predicted, dtype=np.float64)[:, :2] - truth[:, :2]) ** 2, axis=1)
    variances = (2 * np.asarray(sigmas, dtype=np.float64)) ** 2
    errors = squared / variances / (area + np.spacing(1)) / 2
    return float(np.mean(np.exp(-errors[labelled])))


def pck(predicted: ArrayLike, true: ArrayLike, box_xyxy: ArrayLike, fraction: float = 0.2) -> float:
    """The fraction of the labelled keypoints (v > 0) that are correct, 0..1; 0 if none is labelled.

    A keypoint is correct if its distance is at most ``fraction`` of the longer side of the object's box. Source: PCK of
    Yang and Ramanan (2013).

    predicted: (K, 2) pixels. true: (K, 3), (x, y, v). box_xyxy: (4,).
    """
    truth, (x1, y1, x2, y2) = np.asarray(true, dtype=np.float64), np.asarray(box_xyxy, dtype=np.float64)
    labelled = truth[:, 2] > 0
    if not labelled.any():
        return 0.0
    distances = np.linalg.norm(np.asarray(predicted, dtype=np.float64)[:, :2] - truth[:, :2], axis=1)
    return float(np.mean(distances[labelled] <= fraction * max(x2 - x1, y2 - y1)))
