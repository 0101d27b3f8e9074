"""Metrics over the rows of an evaluation: generators of (name, value) that never log.

Source of the numbers: Acc@0.5 with IoU >= 0.5, mean IoU and the metrics ``invalid`` and ``total`` as in big_vision's
RefCOCO evaluators; cumulative IoU as in the referring segmentation papers (sum of intersections over sum of
unions); OKS from COCO. An unreadable answer counts 0 everywhere and 1 in ``invalid``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Metric = tuple[str, float]

IOU_THRESHOLD = 0.5
OKS_THRESHOLD = 0.5
CURVE_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))

SIZES = ("small", "medium", "large")
SMALL_SHARE = 32**2 / (640 * 480)
LARGE_SHARE = 96**2 / (640 * 480)


def size_name(object_area: float, image_area: float) -> str:
    """Whether an object is small, medium or large, by its share of the image.

    COCO's limits are 32^2 and 96^2 pixels, on images of about 640 x 480; as shares of such an image (1/300 and
    3/100) they also hold for images of 96 px and of 4000 px. Deviation: COCO measures the mask, this the box, since
    not every data set knows the outline.
    """
    share = object_area / image_area
    return "small" if share < SMALL_SHARE else "medium" if share < LARGE_SHARE else "large"


def bootstrap_interval(values: ArrayLike, groups: ArrayLike, draws: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of ``values``, (N,) each, resampling whole groups (images).

    Answers on one image share its difficulty, so images are drawn, not answers. Source: the cluster bootstrap
    (Efron and Tibshirani, 1993). The same seed gives the same interval.
    """
    numbers, codes = np.asarray(values, dtype=np.float64), np.unique(np.asarray(groups), return_inverse=True)[1]
    sums, counts = np.bincount(codes, weights=numbers), np.bincount(codes)
    random = np.random.default_rng(seed)
    means = [sums[drawn].sum() / counts[drawn].sum() for drawn in _drawn(random, len(sums), draws)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _drawn(random: np.random.Generator, groups: int, draws: int) -> Iterator[NDArray[np.int64]]:
    return (random.integers(0, groups, groups) for _ in range(draws))


def task_metrics(task: str, rows: pd.DataFrame) -> Iterator[Metric]:
    """All metrics of one task from its rows; which ones, the score columns that are filled tell.

    iou -> acc_0.5 and miou; intersection and union -> ciou; oks -> oks and acc_oks_0.5; correct -> accuracy;
    exact -> exact_match; cider -> cider. Always invalid and total; of an empty task only ``total`` 0.
    """
    yield f"{task}/total", float(len(rows))
    if rows.empty:
        return
    yield f"{task}/invalid", float(rows["invalid"].mean())
    for name, value in _score_metrics(rows):
        yield f"{task}/{name}", value


def _score_metrics(rows: pd.DataFrame) -> Iterator[Metric]:
    if _filled(rows, "iou"):
        yield "acc_0.5", float((rows["iou"] >= IOU_THRESHOLD).mean())
        yield "miou", float(rows["iou"].mean())
    if _filled(rows, "union"):
        yield "ciou", float(rows["intersection"].sum() / rows["union"].sum())
    if _filled(rows, "oks"):
        yield "acc_oks_0.5", float((rows["oks"] >= OKS_THRESHOLD).mean())
    for column, name in {"oks": "oks", "correct": "accuracy", "exact": "exact_match", "cider": "cider"}.items():
        if _filled(rows, column):
            yield name, float(rows[column].mean())


def _filled(rows: pd.DataFrame, column: str) -> bool:
    return column in rows and bool(rows[column].notna().all())


def interval_metrics(task: str, rows: pd.DataFrame, draws: int, seed: int) -> Iterator[Metric]:
    """The 95 % interval of acc_0.5 over images."""
    if not rows.empty:
        low, high = bootstrap_interval(rows["iou"] >= IOU_THRESHOLD, rows["image_id"], draws, seed)
        yield f"{task}/acc_0.5_low", low
        yield f"{task}/acc_0.5_high", high


def breakdown_metrics(task: str, rows: pd.DataFrame) -> Iterator[Metric]:
    """acc_0.5 and total by expression kind (``kind_position``) and by object size (``size_small``)."""
    for column, prefix in (("expression_kind", "kind"), ("size", "size")):
        for group in accuracy_by(rows, column).itertuples():
            yield f"{task}/{prefix}_{group[1]}/acc_0.5", float(group[2])
            yield f"{task}/{prefix}_{group[1]}/total", float(group[3])


def round_trip_metrics(rows: pd.DataFrame) -> Iterator[Metric]:
    """Region -> generated expression -> region: IoU of the box found from the model's own words.

    Rows are those of reg_caption; the ones that took no part have NaN in ``round_trip_iou``.
    """
    ious = rows["round_trip_iou"].dropna() if "round_trip_iou" in rows else pd.Series(dtype=float)
    if ious.empty:
        return
    yield "cycle/round_trip_iou", float(ious.mean())
    yield "cycle/round_trip_acc_0.5", float((ious >= IOU_THRESHOLD).mean())
    yield "cycle/total", float(len(ious))


def accuracy_by_threshold(rows: pd.DataFrame, thresholds: Sequence[float] = CURVE_THRESHOLDS) -> pd.DataFrame:
    """Share of rows whose IoU reaches each threshold: columns threshold, accuracy; empty where there are no rows."""
    reached = [(threshold, float((rows["iou"] >= threshold).mean())) for threshold in thresholds if len(rows)]
    return pd.DataFrame(reached, columns=["threshold", "accuracy"])


def accuracy_by(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """acc_0.5 and total of each value of a column (rows where it is "" are left out), sizes from small to large."""
    named = rows[rows[column] != ""]
    groups: list[tuple[Any, float, int]] = [
        (name, float((group["iou"] >= IOU_THRESHOLD).mean()), len(group)) for name, group in named.groupby(column)
    ]
    groups.sort(key=lambda group: (SIZES.index(group[0]) if group[0] in SIZES else 0, group[0]))
    return pd.DataFrame(groups, columns=[column, "acc_0.5", "total"])
