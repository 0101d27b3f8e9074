"""Of tasks on groups: how sure each box of an answer is, and how well "yes" ranks images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vilam.evaluation.metrics import Bootstrap, Floats, Metric
from vilam.tasks.presence import YES

TINY = 1e-12


def box_scores(coordinates: Sequence[float], count: int) -> list[float]:
    """How sure each of ``count`` boxes is: the geometric mean of its share of the coordinates' probabilities.

    A box has four of them, or two where a model names cells of a grid.
    """
    if not count:
        return []
    by_box = np.log(np.maximum(np.asarray(coordinates, dtype=float).reshape(count, -1), TINY))
    return [float(score) for score in np.exp(by_box.mean(axis=1))]


def ranking(rows: pd.DataFrame, bootstrap: Bootstrap) -> Iterator[Metric]:
    """``auc`` of presence's answers with its interval, drawn as those of other metrics are.

    Yields nothing where all answers are yes, or all no: there is nothing to tell apart.
    """
    is_true, sure = rows["truth"].to_numpy() == YES, rows["present"].to_numpy(float)
    if is_true.all() or not is_true.any():
        return
    value = area_under_curve(sure, is_true, np.ones(len(rows)))
    drawn = [area_under_curve(sure, is_true, weights) for weights in bootstrap.weights()]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    yield from bootstrap.told("auc", value, (float(low), float(high)))


def area_under_curve(scores: Floats, is_true: np.ndarray[Any, Any], weights: Floats) -> float:
    """How often a true one has a higher score than a false one, ties half; NaN where there are none of either.

    scores, is_true, weights: (N,). The area under the ROC curve is this (Hanley and McNeil, 1982).
    """
    _, place = np.unique(scores, return_inverse=True)
    true, false = (np.bincount(place, weights * chosen) for chosen in (is_true, ~is_true))
    below = np.cumsum(false) - false
    pairs = true.sum() * false.sum()
    return float((true * (below + false / 2)).sum() / pairs) if pairs else float("nan")
