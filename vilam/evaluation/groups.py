"""Tasks on groups: the score of each box of an answer, and how well the probability of "yes" ranks images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vilam.evaluation.estimates import Bootstrap, Floats, Metric
from vilam.tasks.presence import YES

TINY = 1e-12


def box_scores(coordinates: Sequence[float], count: int) -> list[float]:
    """The score of each of ``count`` boxes: the geometric mean of the probabilities of its own coordinates.

    coordinates: of all boxes, one after the other. A box has four, or two if a model names cells of a grid.
    """
    if not count:
        return []
    by_box = np.log(np.maximum(np.asarray(coordinates, dtype=float).reshape(count, -1), TINY))
    return [float(score) for score in np.exp(by_box.mean(axis=1))]


def auc(prefix: str, rows: pd.DataFrame, resamples: int, seed: int) -> Iterator[Metric]:
    """``PREFIX/auc`` of presence's answers with its interval; nothing unless both "yes" and "no" are true of some."""
    is_true = rows["truth"].to_numpy() == YES
    if is_true.all() or not is_true.any():
        return
    bootstrap, scores = Bootstrap(rows["content_id"], resamples, seed), rows["present"].to_numpy(float)
    value = area_under_curve(scores, is_true, np.ones(len(rows)))
    resampled = [area_under_curve(scores, is_true, weights) for weights in bootstrap.weights()]
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    yield from bootstrap.with_interval(f"{prefix}/auc", value, (float(low), float(high)))


def area_under_curve(scores: Floats, is_true: np.ndarray[Any, Any], weights: Floats) -> float:
    """How often a true one has a higher score than a false one, ties count half; NaN if either is missing.

    scores, is_true, weights: (N,). This is the area under the ROC curve (Hanley and McNeil, 1982).
    """
    _, rank = np.unique(scores, return_inverse=True)
    true, false = (np.bincount(rank, weights * chosen) for chosen in (is_true, ~is_true))
    below = np.cumsum(false) - false
    pairs = true.sum() * false.sum()
    return float((true * (below + false / 2)).sum() / pairs) if pairs else float("nan")
