"""Two models, or two ways of training, compared answer by answer: the same question, the same image, the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vilam.errors import VilamError
from vilam.evaluation import round_trips
from vilam.evaluation.estimates import Floats
from vilam.evaluation.task_metrics import task_estimates
from vilam.tasks import ALL_TASKS

Scores = Mapping[str, pd.DataFrame]
"""By metric: columns question_id, content_id, value, one row per answer; the mean of ``value`` is the metric."""


@dataclass(frozen=True, slots=True)
class Difference:
    """``mean``: of the arm minus the baseline, over the seeds; ``low``, ``high``: its 95 % interval over images.

    by_seed: of each seed. The interval shows how much other images could change the mean of these models; the spread of
    ``by_seed`` shows how much other seeds could.
    """

    mean: float
    low: float
    high: float
    by_seed: tuple[float, ...]

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def scores(rows: pd.DataFrame) -> Scores:
    """The scores of each answer by the name of the metric that is their mean, from the rows of an evaluation.

    They are those of `task_estimates` and of round trips, except for metrics that are not means of answers (ciou,
    balanced_accuracy). Tasks that were not asked are left out. ``invalid`` covers the answers to all tasks.
    """
    return dict(_scores(rows))


def _scores(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    parts = {task: (rows[rows["task"] == task], task_estimates) for task in ALL_TASKS}
    parts[round_trips.NAME] = round_trips.rows_with_round_trip(rows), round_trips.round_trip_estimates
    for name, (own, estimates) in parts.items():
        for estimate in estimates(own) if len(own) else ():
            if estimate.is_mean:
                counted = estimate.denominators > 0
                yield f"{name}/{estimate.name}", _scored(own[counted], estimate.numerators[counted])
    if len(rows):
        yield "invalid", _scored(rows, rows["invalid"].to_numpy(float))


def _scored(rows: pd.DataFrame, values: Floats) -> pd.DataFrame:
    return rows[["question_id", "content_id"]].assign(value=values)


def paired_difference(
    arm: Sequence[pd.DataFrame], baseline: Sequence[pd.DataFrame], resamples: int, seed: int
) -> Difference:
    """The difference of one metric; ``arm`` and ``baseline`` hold the scores of each seed, in the same order.

    Each answer is paired with the baseline's to the same question. The mean difference is taken for each seed, then
    over the seeds. Whole images are resampled (by content), the same ones for all seeds. Source: the cluster
    bootstrap (Efron and Tibshirani, 1993) with its percentile interval, as in `vilam.evaluation.estimates.Bootstrap`.
    Raises VilamError if the answers of a seed are not to the same questions.
    """
    pairs = [_paired(ours, theirs) for ours, theirs in zip(arm, baseline, strict=True)]
    images = sorted(set().union(*(pair["content_id"] for pair in pairs)))
    sums, counts = (np.stack([_by_image(pair, images, how) for pair in pairs], axis=1) for how in ("sum", "count"))
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(images), np.full(len(images), 1 / len(images)), size=resamples)
    means = ((times @ sums) / (times @ counts)).mean(axis=1)
    by_seed = sums.sum(axis=0) / counts.sum(axis=0)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(by_seed.mean()), float(low), float(high), tuple(float(each) for each in by_seed))


def _paired(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Columns content_id and value, the difference; one row per question."""
    if set(ours["question_id"]) != set(theirs["question_id"]):
        raise VilamError("the answers to compare are not to the same questions: evaluate both on the same data")
    both = ours.merge(theirs, on=["question_id", "content_id"], suffixes=("", "_baseline"), validate="one_to_one")
    return both.assign(value=both["value"] - both["value_baseline"])[["content_id", "value"]]


def _by_image(pair: pd.DataFrame, images: list[str], how: str) -> Floats:
    grouped = pair.groupby("content_id")["value"].agg(how)
    return np.asarray(grouped.reindex(images, fill_value=0.0), dtype=np.float64)
