"""Object keypoint similarity. numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def oks(predicted: ArrayLike, true: ArrayLike, area: float, sigmas: ArrayLike) -> float:
    """COCO's object keypoint similarity, 0..1, over the labelled keypoints (v > 0); 0 where none is labelled.

    Source: pycocotools ``COCOeval.computeOks``: mean of exp(-d^2 / (2 * area * (2 * sigma)^2)).

    predicted: (K, 2) pixels. true: (K, 3), (x, y, v). area: the object's, in square pixels. sigmas: (K,).
    """
    truth = np.asarray(true, dtype=np.float64)
    labelled = truth[:, 2] > 0
    if not labelled.any():
        return 0.0
    squared = np.sum((np.asarray(predicted, dtype=np.float64)[:, :2] - truth[:, :2]) ** 2, axis=1)
    variances = (2 * np.asarray(sigmas, dtype=np.float64)) ** 2
    errors = squared / variances / (area + np.spacing(1)) / 2
    return float(np.mean(np.exp(-errors[labelled])))
