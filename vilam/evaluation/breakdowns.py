"""Metrics of parts of a task's answers: by expression, object, confidence, split, and by what was trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from vilam.evaluation.estimates import Metric
from vilam.evaluation.task_metrics import IOU_THRESHOLD, THRESHOLDS, task_metrics

SIZES = ("small", "medium", "large")
SMALL_FRACTION = 32**2 / (640 * 480)
LARGE_FRACTION = 96**2 / (640 * 480)
LENGTHS = {"1-2": 2, "3-5": 5, "6-9": 9, "10+": 10**9}
"""Lengths of expressions and the most words that each has."""
COVERAGES = tuple(round(0.1 * i, 1) for i in range(1, 11))
OTHERS, UNREADABLE = "all others", "unreadable"
"""What `confusions` calls the less frequent categories, and the answers that cannot be parsed."""
SEEN, UNSEEN, OF_SPLIT = "seen", "unseen", "split_"
"""Names of parts: categories that were trained on, categories that were held out, and one split of several."""


def size_name(object_area: float, image_area: float) -> str:
    """Whether an object is small, medium or large, by its fraction of the image.

    COCO's limits are 32^2 and 96^2 pixels, on images of about 640 x 480; as fractions of such an image (1/300 and
    3/100) they also hold for images of 96 px and of 4000 px. Deviation: COCO measures the mask, this the box, since
    not every data set has masks.
    """
    fraction = object_area / image_area
    return "small" if fraction < SMALL_FRACTION else "medium" if fraction < LARGE_FRACTION else "large"


def length_name(expression: str) -> str:
    """How long an expression is, in words; "" for an empty one."""
    count = len(expression.split())
    return next(name for name, most in LENGTHS.items() if count <= most) if count else ""


def part_metrics(task: str, rows: pd.DataFrame, resamples: int, seed: int) -> Iterator[Metric]:
    """The metrics of a task for each part of its rows, with intervals over the images of that part.

    SEEN and UNSEEN: if categories were held out. OF_SPLIT and the split's name: if there are several splits.
    """
    parts = {str(name): own for name, own in rows[rows["seen"] != ""].groupby("seen")}
    if rows["split"].nunique() > 1:
        parts |= {f"{OF_SPLIT}{name}": own for name, own in rows.groupby("split", sort=False)}
    for name, own in parts.items():
        yield from task_metrics(f"{task}/{name}", own, resamples, seed)


def breakdown_metrics(task: str, rows: pd.DataFrame) -> Iterator[Metric]:
    """acc_0.5 and total by kind (``kind_position``) and length of the expression, and by size of the object."""
    for column, prefix in (("expression_kind", "kind"), ("expression_length", "length"), ("size", "size")):
        for group in accuracy_by(rows, column).itertuples():
            yield f"{task}/{prefix}_{group[1]}/acc_0.5", float(group[2])
            yield f"{task}/{prefix}_{group[1]}/total", float(group[3])


def accuracy_by(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """acc_0.5 and total of each value of ``column`` except ""; sizes and lengths in their order."""
    named = rows[rows[column] != ""]
    groups: list[tuple[Any, float, int]] = [
        (name, float((group["iou"] >= IOU_THRESHOLD).mean()), len(group)) for name, group in named.groupby(column)
    ]
    order = [*SIZES, *LENGTHS]
    groups.sort(key=lambda group: (order.index(group[0]) if group[0] in order else 0, group[0]))
    return pd.DataFrame(groups, columns=[column, "acc_0.5", "total"])


def accuracy_by_threshold(rows: pd.DataFrame, thresholds: Sequence[float] = THRESHOLDS) -> pd.DataFrame:
    """The fraction of rows whose IoU reaches each threshold: columns threshold, accuracy; empty without rows."""
    reached = [(threshold, float((rows["iou"] >= threshold).mean())) for threshold in thresholds if len(rows)]
    return pd.DataFrame(reached, columns=["threshold", "accuracy"])


def accuracy_by_coverage(rows: pd.DataFrame, coverages: Sequence[float] = COVERAGES) -> pd.DataFrame:
    """acc_0.5 of the most confident answers: columns coverage (their fraction of all), acc_0.5, total.

    If the confidence is useful, acc_0.5 falls as the coverage grows; otherwise it stays level. 1 - acc_0.5 is the risk
    of the risk-coverage curve (El-Yaniv and Wiener, 2010). Of equally confident answers, earlier ones come first.
    """
    if rows.empty:
        return pd.DataFrame(columns=["coverage", "acc_0.5", "total"])
    hits = rows.sort_values("confidence", ascending=False, kind="stable")["iou"] >= IOU_THRESHOLD
    counts = {coverage: math.ceil(coverage * len(hits)) for coverage in coverages}
    reached = [(coverage, float(hits[:count].mean()), count) for coverage, count in counts.items()]
    return pd.DataFrame(reached, columns=["coverage", "acc_0.5", "total"])


def category_table(rows: pd.DataFrame) -> pd.DataFrame:
    """The categories of reg_class, the most frequent first: columns category, total, accuracy, answered.

    answered: how often the category was the answer, right or wrong.
    """
    answered = rows["answer"].str.strip().value_counts()
    groups = [
        (str(name), len(group), float(group["correct"].mean()), int(answered.get(name, 0)))
        for name, group in rows.groupby("category")
    ]
    groups.sort(key=lambda group: (-group[1], group[0]))
    return pd.DataFrame(groups, columns=["category", "total", "accuracy", "answered"])


def confusions(rows: pd.DataFrame, most: int | None = None) -> pd.DataFrame:
    """What was said instead: columns truth, said, count, share (of the answers to this truth), for rows of reg_class.

    most: categories beyond this number are counted together as OTHERS, those of the fewest regions first.
    """
    said = rows["answer"].str.strip().where(~rows["invalid"], UNREADABLE)
    pairs = pd.DataFrame({"truth": rows["category"], "said": said})
    names = dict.fromkeys([*pairs["truth"].value_counts().index, *said[~rows["invalid"]].value_counts().index])
    frequent = [*names][:most]
    pairs = pairs.where(pairs.isin([*frequent, UNREADABLE]), OTHERS)
    order = {name: number for number, name in enumerate([*frequent, OTHERS, UNREADABLE])}
    counts = pairs.value_counts().rename("count").reset_index()
    counts["share"] = counts["count"] / counts.groupby("truth")["count"].transform("sum")
    return counts.sort_values(["truth", "said"], key=lambda names: names.map(order), kind="stable", ignore_index=True)
