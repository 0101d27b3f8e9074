"""The metrics of each task, from the score columns that its answers fill.

Source of the numbers: Acc@0.5 with IoU >= 0.5, mean IoU and the metrics ``invalid`` and ``total`` as in big_vision's
RefCOCO evaluators; the mean over ten thresholds as COCO's; cumulative IoU as in the referring segmentation papers (sum
of intersections over sum of unions); OKS from COCO. An unreadable answer counts 0 everywhere and 1 in ``invalid``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from vilam.evaluation.estimates import (
    Bootstrap,
    Estimate,
    Floats,
    Metric,
    mean_of,
    mean_over_kinds,
    mean_where,
    ratio_of,
)

IOU_THRESHOLD = 0.5
OKS_THRESHOLD = 0.5
THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""COCO's, from 0.5 to 0.95."""
BOX_THRESHOLDS = (0.5, 0.75, 0.9)
MASK_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""The thresholds at which papers on referring segmentation report their precision."""
MEANS = {"pck": "pck_0.2", "exact": "exact_match", "cider": "cider"}
"""Score columns whose mean is a metric, and its name."""


def task_metrics(prefix: str, rows: pd.DataFrame, resamples: int, seed: int) -> Iterator[Metric]:
    """All metrics of the rows of one task, each with its interval, by the name ``PREFIX/NAME``.

    Always ``total`` and ``invalid``, then `task_estimates`; without rows only ``total`` 0.
    """
    yield f"{prefix}/total", float(len(rows))
    if len(rows):
        yield f"{prefix}/invalid", float(rows["invalid"].mean())
        yield from Bootstrap(rows["content_id"], resamples, seed).metrics(prefix, task_estimates(rows))


def task_estimates(rows: pd.DataFrame) -> Iterator[Estimate]:
    """The metrics of one task's answers; the filled score columns decide which. The paired comparison uses them too.

    iou -> acc_0.5, acc_0.75, acc_0.9 (of masks acc_0.5, acc_0.6 … acc_0.9), acc_mean (over 0.5 to 0.95) and miou;
    intersection and union -> ciou; oks -> oks, acc_oks_0.5 and acc_oks_mean; correct -> accuracy and balanced_accuracy
    (the mean over true answers of the accuracy on their questions); f1, perfect, perfect_giou and existence_correct ->
    f1, pr_f1 (the fraction of perfect answers), pr_f1_giou (the same by the generalised IoU; older rows have none),
    n_acc (over questions about nothing) and t_acc (over the others); then MEANS.
    """
    if _filled(rows, "iou"):
        thresholds = MASK_THRESHOLDS if _filled(rows, "union") else BOX_THRESHOLDS
        yield from (mean_of(f"acc_{each}", rows["iou"] >= each) for each in thresholds)
        yield mean_of("acc_mean", _reached(rows["iou"]))
        yield mean_of("miou", rows["iou"])
    if _filled(rows, "union"):
        yield ratio_of("ciou", rows["intersection"], rows["union"])
    if _filled(rows, "oks"):
        yield mean_of("oks", rows["oks"])
        yield mean_of("acc_oks_0.5", rows["oks"] >= OKS_THRESHOLD)
        yield mean_of("acc_oks_mean", _reached(rows["oks"]))
    if _filled(rows, "correct"):
        yield mean_of("accuracy", rows["correct"])
        yield mean_over_kinds("balanced_accuracy", rows["correct"], rows["truth"].tolist())
    if _filled(rows, "f1"):
        yield mean_of("f1", rows["f1"])
        yield mean_of("pr_f1", rows["perfect"])
        if _filled(rows, "perfect_giou"):
            yield mean_of("pr_f1_giou", rows["perfect_giou"])
        for name, counted in (("n_acc", rows["num_true"] == 0), ("t_acc", rows["num_true"] > 0)):
            if counted.any():
                yield mean_where(name, rows["existence_correct"], counted)
    for column, name in MEANS.items():
        if _filled(rows, column):
            yield mean_of(name, rows[column])


def _filled(rows: pd.DataFrame, column: str) -> bool:
    return column in rows and bool(rows[column].notna().all())


def _reached(values: pd.Series) -> Floats:
    """The fraction of COCO's thresholds that each value reaches."""
    reached: Floats = (values.to_numpy(float)[:, None] >= np.asarray(THRESHOLDS)).mean(axis=1)
    return reached
