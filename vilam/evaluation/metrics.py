"""Metrics over the rows of an evaluation: generators of (name, value) that never log.

Source of the numbers: Acc@0.5 with IoU >= 0.5, mean IoU and the metrics ``invalid`` and ``total`` as in big_vision's
RefCOCO evaluators; the mean over ten thresholds as COCO's; cumulative IoU as in the referring segmentation papers (sum
of intersections over sum of unions); OKS from COCO. An unreadable answer counts 0 everywhere and 1 in ``invalid``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Metric = tuple[str, float]
Floats = NDArray[np.float64]

IOU_THRESHOLD = 0.5
OKS_THRESHOLD = 0.5
THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""COCO's, from 0.5 to 0.95."""
BOX_THRESHOLDS = (0.5, 0.75, 0.9)
MASK_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Those at which papers on referring segmentation tell their precision."""

SIZES = ("small", "medium", "large")
SMALL_SHARE = 32**2 / (640 * 480)
LARGE_SHARE = 96**2 / (640 * 480)
COVERAGES = tuple(round(0.1 * step, 1) for step in range(1, 11))
SEEN, UNSEEN, OF_SPLIT = "seen", "unseen", "split_"
"""Parts of a task's answers: of categories that were trained on or not, and of a split among several."""
LENGTHS = {"1-2": 2, "3-5": 5, "6-9": 9, "10+": 10**9}
"""Lengths of expressions and the most words that each has."""


def size_name(object_area: float, image_area: float) -> str:
    """Whether an object is small, medium or large, by its share of the image.

    COCO's limits are 32^2 and 96^2 pixels, on images of about 640 x 480; as shares of such an image (1/300 and
    3/100) they also hold for images of 96 px and of 4000 px. Deviation: COCO measures the mask, this the box, since
    not every data set knows the outline.
    """
    share = object_area / image_area
    return "small" if share < SMALL_SHARE else "medium" if share < LARGE_SHARE else "large"


def length_name(expression: str) -> str:
    """How long an expression is, in words; "" where there is none."""
    count = len(expression.split())
    return next(name for name, most in LENGTHS.items() if count <= most) if count else ""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A metric of N answers: a sum over a sum, or the mean of such over kinds of answers (balanced accuracy).

    over, under: (N,); ``under`` is 1 for each where the metric is a mean. kinds: the number of each answer's, (N,).
    """

    name: str
    over: Floats
    under: Floats
    kinds: NDArray[np.int64]

    @property
    def value(self) -> float:
        """Over all answers."""
        over, under = self.sums(np.zeros(len(self.over), dtype=np.int64), 1)
        return float(mean_ratio(over, under)[0])

    def sums(self, codes: NDArray[np.int64], count: int) -> tuple[Floats, Floats]:
        """Sums by group and kind, (count, kinds) each; ``codes`` are the numbers of the answers' groups."""
        shape = (count, int(self.kinds.max()) + 1)
        cells = np.ravel_multi_index((codes, self.kinds), shape)
        over, under = (np.bincount(cells, each, shape[0] * shape[1]).astype(float) for each in (self.over, self.under))
        return over.reshape(shape), under.reshape(shape)


def mean_ratio(over: Floats, under: Floats) -> Floats:
    """Mean over kinds of sum over sum: (D, kinds) twice -> (D,); a kind of which there is nothing does not count."""
    ratios = np.divide(over, under, out=np.zeros_like(over), where=under > 0)
    return np.asarray(ratios.sum(axis=1) / np.maximum((under > 0).sum(axis=1), 1))


def mean_of(name: str, values: ArrayLike, kinds: Sequence[str] | None = None) -> Estimate:
    """The mean of values (N,), or the mean over kinds of the mean of each."""
    numbers = np.asarray(values, dtype=np.float64)
    codes = np.zeros(len(numbers), int) if kinds is None else np.unique(np.asarray(kinds), return_inverse=True)[1]
    return Estimate(name, numbers, np.ones_like(numbers), codes)


class Bootstrap:
    """95 % percentile intervals, resampling whole groups (images): answers on one image share its difficulty.

    Source: the cluster bootstrap (Efron and Tibshirani, 1993). All metrics get the same draws; the same seed gives the
    same ones. count: of groups; of one alone no interval is told, since all draws are alike.
    """

    def __init__(self, groups: ArrayLike, draws: int, seed: int) -> None:
        """``groups``: of each of N answers."""
        self._codes = np.unique(np.asarray(groups), return_inverse=True)[1]
        self.count = count = int(self._codes.max()) + 1
        random = np.random.default_rng(seed)
        times = [np.bincount(random.integers(0, count, count), minlength=count) for _ in range(draws)]
        self._times = np.stack(times).astype(np.float64)

    def weights(self) -> Iterator[Floats]:
        """How often each answer (N,) is in each draw."""
        return (times[self._codes] for times in self._times)

    def interval(self, estimate: Estimate) -> tuple[float, float]:
        """Low and high of a metric of the same answers."""
        over, under = estimate.sums(self._codes, self.count)
        low, high = np.percentile(mean_ratio(self._times @ over, self._times @ under), [2.5, 97.5])
        return float(low), float(high)

    def told(self, name: str, value: float, interval: tuple[float, float]) -> Iterator[Metric]:
        """The value and, as ``_low`` and ``_high``, its interval, where there is more than one image."""
        yield name, value
        if self.count > 1:
            yield f"{name}_low", interval[0]
            yield f"{name}_high", interval[1]


def bootstrap_interval(values: ArrayLike, groups: ArrayLike, draws: int, seed: int) -> tuple[float, float]:
    """The 95 % interval of the mean of ``values`` (N,), of which ``groups`` tell the images; see `Bootstrap`."""
    return Bootstrap(groups, draws, seed).interval(mean_of("", values))


def task_metrics(task: str, rows: pd.DataFrame, draws: int, seed: int) -> Iterator[Metric]:
    """All metrics of one task from its rows, each with its interval; which ones, the filled score columns tell.

    Always invalid and total; of an empty task only ``total`` 0. See `estimates`.
    """
    yield f"{task}/total", float(len(rows))
    if rows.empty:
        return
    yield f"{task}/invalid", float(rows["invalid"].mean())
    yield from with_intervals(task, estimates(rows), Bootstrap(rows["picture"], draws, seed))


def with_intervals(task: str, found: Iterable[Estimate], bootstrap: Bootstrap) -> Iterator[Metric]:
    """Each estimate's value and its interval."""
    for estimate in found:
        yield from bootstrap.told(f"{task}/{estimate.name}", estimate.value, bootstrap.interval(estimate))


def estimates(rows: pd.DataFrame) -> Iterator[Estimate]:
    """The metrics of a task's answers.

    iou -> acc_0.5, acc_0.75, acc_0.9 (of outlines acc_0.5, acc_0.6 … acc_0.9), acc_mean (over 0.5 to 0.95) and miou;
    intersection and union -> ciou; oks -> oks, acc_oks_0.5 and acc_oks_mean; pck -> pck_0.2; correct -> accuracy and
    balanced_accuracy (the mean over true answers of the share of their questions that are answered rightly); exact ->
    exact_match; cider -> cider; f1, perfect and is_told_apart -> f1, pr_f1 (the share of perfect ones), n_acc (of
    questions about nothing, how many are told apart) and t_acc (of the others).
    """
    if _filled(rows, "iou"):
        thresholds = MASK_THRESHOLDS if _filled(rows, "union") else BOX_THRESHOLDS
        yield from (mean_of(f"acc_{each}", rows["iou"] >= each) for each in thresholds)
        yield mean_of("acc_mean", _mean_reached(rows["iou"]))
        yield mean_of("miou", rows["iou"])
    if _filled(rows, "union"):
        whole = np.zeros(len(rows), dtype=np.int64)
        yield Estimate("ciou", rows["intersection"].to_numpy(float), rows["union"].to_numpy(float), whole)
    if _filled(rows, "oks"):
        yield mean_of("oks", rows["oks"])
        yield mean_of("acc_oks_0.5", rows["oks"] >= OKS_THRESHOLD)
        yield mean_of("acc_oks_mean", _mean_reached(rows["oks"]))
    if _filled(rows, "correct"):
        yield mean_of("accuracy", rows["correct"])
        yield mean_of("balanced_accuracy", rows["correct"], rows["truth"].tolist())
    if _filled(rows, "f1"):
        yield mean_of("f1", rows["f1"])
        yield mean_of("pr_f1", rows["perfect"])
        for name, about in (("n_acc", rows["num_true"] == 0), ("t_acc", rows["num_true"] > 0)):
            if about.any():
                yield _share_of(name, rows["is_told_apart"], about)
    for column, name in {"pck": "pck_0.2", "exact": "exact_match", "cider": "cider"}.items():
        if _filled(rows, column):
            yield mean_of(name, rows[column])


def _share_of(name: str, values: ArrayLike, about: ArrayLike) -> Estimate:
    """The mean of those of the values (N,) that the metric is about (N,)."""
    counted = np.asarray(about, dtype=np.float64)
    return Estimate(name, np.asarray(values, dtype=np.float64) * counted, counted, np.zeros(len(counted), dtype=int))


def part_metrics(task: str, rows: pd.DataFrame, draws: int, seed: int) -> Iterator[Metric]:
    """The metrics of a task apart for parts of its rows, each with its interval over the images of that part.

    SEEN and UNSEEN: categories that were trained on, and that were held out. OF_SPLIT and its name: each of several.
    """
    parts = {str(name): own for name, own in rows[rows["seen"] != ""].groupby("seen")}
    if rows["split"].nunique() > 1:
        parts |= {f"{OF_SPLIT}{name}": own for name, own in rows.groupby("split", sort=False)}
    for name, own in parts.items():
        yield f"{task}/{name}/total", float(len(own))
        yield f"{task}/{name}/invalid", float(own["invalid"].mean())
        yield from with_intervals(f"{task}/{name}", estimates(own), Bootstrap(own["picture"], draws, seed))


def _mean_reached(values: pd.Series) -> Floats:
    """The share of COCO's thresholds that each value reaches."""
    reached: Floats = (values.to_numpy(float)[:, None] >= np.asarray(THRESHOLDS)).mean(axis=1)
    return reached


def _filled(rows: pd.DataFrame, column: str) -> bool:
    return column in rows and bool(rows[column].notna().all())


def breakdown_metrics(task: str, rows: pd.DataFrame) -> Iterator[Metric]:
    """acc_0.5 and total by kind (``kind_position``) and length of the expression, and by size of the object."""
    for column, prefix in (("expression_kind", "kind"), ("expression_length", "length"), ("size", "size")):
        for group in accuracy_by(rows, column).itertuples():
            yield f"{task}/{prefix}_{group[1]}/acc_0.5", float(group[2])
            yield f"{task}/{prefix}_{group[1]}/total", float(group[3])


def round_trip_metrics(rows: pd.DataFrame, draws: int, seed: int) -> Iterator[Metric]:
    """Region -> generated expression -> region: IoU of the box found from the model's own words, with its interval.

    Rows are those of reg_caption; the ones that took no part have NaN in ``round_trip_iou``.
    """
    took_part = rows[rows["round_trip_iou"].notna()] if "round_trip_iou" in rows else rows[:0]
    if took_part.empty:
        return
    ious = took_part["round_trip_iou"]
    found = mean_of("round_trip_iou", ious), mean_of("round_trip_acc_0.5", ious >= IOU_THRESHOLD)
    yield from with_intervals("cycle", found, Bootstrap(took_part["picture"], draws, seed))
    yield "cycle/total", float(len(took_part))


def accuracy_by_threshold(rows: pd.DataFrame, thresholds: Sequence[float] = THRESHOLDS) -> pd.DataFrame:
    """Share of rows whose IoU reaches each threshold: columns threshold, accuracy; empty where there are no rows."""
    reached = [(threshold, float((rows["iou"] >= threshold).mean())) for threshold in thresholds if len(rows)]
    return pd.DataFrame(reached, columns=["threshold", "accuracy"])


def accuracy_by(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """acc_0.5 and total of each value of a column (rows where it is "" are left out), sizes and lengths in order."""
    named = rows[rows[column] != ""]
    groups: list[tuple[Any, float, int]] = [
        (name, float((group["iou"] >= IOU_THRESHOLD).mean()), len(group)) for name, group in named.groupby(column)
    ]
    order = [*SIZES, *LENGTHS]
    groups.sort(key=lambda group: (order.index(group[0]) if group[0] in order else 0, group[0]))
    return pd.DataFrame(groups, columns=[column, "acc_0.5", "total"])


def accuracy_by_coverage(rows: pd.DataFrame, coverages: Sequence[float] = COVERAGES) -> pd.DataFrame:
    """acc_0.5 of the surest answers alone: columns coverage (their share of all), acc_0.5, total.

    A confidence that knows something makes it fall with the coverage; one that knows nothing leaves it level. One less
    it is the risk of the risk-coverage curve (El-Yaniv and Wiener, 2010). Of equally sure answers earlier ones lead.
    """
    if rows.empty:
        return pd.DataFrame(columns=["coverage", "acc_0.5", "total"])
    sure = rows.sort_values("confidence", ascending=False, kind="stable")["iou"] >= IOU_THRESHOLD
    counts = {coverage: math.ceil(coverage * len(sure)) for coverage in coverages}
    reached = [(coverage, float(sure[:count].mean()), count) for coverage, count in counts.items()]
    return pd.DataFrame(reached, columns=["coverage", "acc_0.5", "total"])


def category_table(rows: pd.DataFrame) -> pd.DataFrame:
    """The categories of reg_class, the commonest first: columns category, total, accuracy, named (how often it was)."""
    said = rows["answer"].str.strip().value_counts()
    groups = [
        (str(name), len(group), float(group["correct"].mean()), int(said.get(name, 0)))
        for name, group in rows.groupby("category")
    ]
    groups.sort(key=lambda group: (-group[1], group[0]))
    return pd.DataFrame(groups, columns=["category", "total", "accuracy", "named"])
