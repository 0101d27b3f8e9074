"""Two ways of training compared answer by answer: the same question, the same image, the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vilam.errors import VilamError
from vilam.evaluation.metrics import IOU_THRESHOLD

Scores = Mapping[str, pd.DataFrame]
"""By metric: instruction_id, image_id, value, one row an answer; the mean of ``value`` is the metric."""


@dataclass(frozen=True, slots=True)
class Difference:
    """``mean``: over the seeds, of the arm less the baseline; ``low``, ``high``: its 95 % interval over images.

    by_seed: of each seed. The interval says how far other images could move the mean of these very models; how far
    other seeds could, the spread of ``by_seed`` says.
    """

    mean: float
    low: float
    high: float
    by_seed: tuple[float, ...]

    @property
    def is_clear(self) -> bool:
        """Whether the interval lies clear of zero."""
        return self.low > 0 or self.high < 0


def scores(rows: pd.DataFrame) -> Scores:
    """The scores of each answer by the name of the metric that they make up, from the rows of an evaluation.

    Metrics of tasks that were not asked are left out. ``invalid`` is of the answers to all tasks.
    """
    return {name: _score(chosen, values) for name, chosen, values in _metrics(rows) if len(chosen)}


def _metrics(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.Series]]:
    tasks = ("rec_box", "rec_mask", "rec_keypoints", "reg_caption", "reg_class", "rec_every", "presence")
    found, outlined, pointed, told, named, every, presence = (rows[rows["task"] == task] for task in tasks)
    if len(found):
        yield "rec_box/acc_0.5", found, found["iou"] >= IOU_THRESHOLD
        yield "rec_box/miou", found, found["iou"]
    if len(outlined):
        yield "rec_mask/acc_0.5", outlined, outlined["iou"] >= IOU_THRESHOLD
        yield "rec_mask/miou", outlined, outlined["iou"]
    if len(pointed):
        yield "rec_keypoints/oks", pointed, pointed["oks"]
    if len(told):
        trips = told[told["round_trip_iou"].notna()]
        yield "reg_caption/cider", told, told["cider"]
        yield "reg_caption/exact_match", told, told["exact"]
        yield "cycle/round_trip_iou", trips, trips["round_trip_iou"]
        yield "cycle/round_trip_acc_0.5", trips, trips["round_trip_iou"] >= IOU_THRESHOLD
    if len(named):
        yield "reg_class/accuracy", named, named["correct"]
    if len(every):
        yield "rec_every/f1", every, every["f1"]
        yield "rec_every/pr_f1", every, every["perfect"]
    if len(presence):
        yield "presence/accuracy", presence, presence["correct"]
    yield "invalid", rows, rows["invalid"]


def _score(rows: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    return rows[["instruction_id", "picture"]].assign(value=values.astype(float))


def paired_difference(
    arm: Sequence[pd.DataFrame], baseline: Sequence[pd.DataFrame], draws: int, seed: int
) -> Difference:
    """The difference of a metric: for each seed (in the same order) the scores of the arm and of the baseline.

    An answer is paired with the baseline's to the same instruction. Of each seed the mean difference is taken, and of
    these the mean. Pictures are drawn again and again, whole, the same for all seeds. Source: the cluster bootstrap
    (Efron and Tibshirani, 1993), percentile interval, as `vilam.evaluation.metrics.bootstrap_interval`.
    Raises VilamError where a seed's answers are not to the same instructions.
    """
    pairs = [_paired(ours, theirs) for ours, theirs in zip(arm, baseline, strict=True)]
    images = sorted(set().union(*(pair["picture"] for pair in pairs)))
    sums, counts = (np.stack([_by_image(pair, images, how) for pair in pairs], axis=1) for how in ("sum", "count"))
    drawn = np.random.default_rng(seed).multinomial(len(images), np.full(len(images), 1 / len(images)), size=draws)
    means = ((drawn @ sums) / (drawn @ counts)).mean(axis=1)
    by_seed = sums.sum(axis=0) / counts.sum(axis=0)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(by_seed.mean()), float(low), float(high), tuple(float(each) for each in by_seed))


def _paired(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """picture and the difference of the values, one row an instruction."""
    if set(ours["instruction_id"]) != set(theirs["instruction_id"]):
        raise VilamError("the answers to compare are not to the same instructions: evaluate both on the same data")
    both = ours.merge(theirs, on=["instruction_id", "picture"], suffixes=("", "_baseline"), validate="one_to_one")
    return both.assign(value=both["value"] - both["value_baseline"])[["picture", "value"]]


def _by_image(pair: pd.DataFrame, images: list[str], how: str) -> NDArray[np.float64]:
    grouped = pair.groupby("picture")["value"].agg(how)
    return np.asarray(grouped.reindex(images, fill_value=0.0), dtype=np.float64)
