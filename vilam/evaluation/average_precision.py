"""COCO's average precision over all boxes of a category, and its interval over images.

pycocotools matches the boxes. The accumulation is done here, since an interval needs it for hundreds of resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vilam.evaluation.estimates import Bootstrap, Floats, Metric
from vilam.geometry.boxes import area

NAMES = {"ap": slice(None), "ap_0.5": slice(0, 1), "ap_0.75": slice(5, 6)}
"""Names, and the IoU thresholds (0.5, 0.55 … 0.95) whose mean each one is."""
MAX_RESAMPLES = 200
"""A standard error needs no more (Efron and Tibshirani, 1993, chapter 6)."""
NORMAL = 1.96
"""Standard errors of a 95 % interval."""
EPSILON = np.spacing(1)
"""COCO's evaluation adds it at the same point, to avoid division by 0."""


def average_precision(prefix: str, rows: pd.DataFrame, resamples: int, seed: int) -> Iterator[Metric]:
    """``PREFIX/ap`` (mean over IoU 0.5 to 0.95), ``ap_0.5`` and ``ap_0.75`` of rec_every's answers, with intervals.

    The interval is that of the standard error. A percentile interval would miss the value if categories are many and
    rare: a resample has fewer different images, and with fewer images the precision is higher.

    Only questions about a whole category count. An image counts for the categories that were asked about it, as in
    LVIS. A box's score is the geometric mean of the probabilities of its coordinates. Yields nothing if no answer
    should hold a box.
    """
    of_categories = rows[rows["expression_kind"] == "class"]
    if not len(of_categories) or not of_categories["true_boxes"].str.len().sum():
        return
    ranked = rankings(of_categories)
    once = mean_precisions(ranked, np.ones(len(of_categories)))
    bootstrap = Bootstrap(of_categories["content_id"], min(resamples, MAX_RESAMPLES), seed)
    resampled = np.array([mean_precisions(ranked, each) for each in bootstrap.weights()])
    for name, thresholds in NAMES.items():
        value, error = float(once[thresholds].mean()), float(np.nanstd(resampled[:, thresholds].mean(axis=1)))
        interval = max(value - NORMAL * error, 0.0), min(value + NORMAL * error, 1.0)
        yield from bootstrap.with_interval(f"{prefix}/{name}", value, interval)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The boxes of one category that all answers hold, the highest score first.

    answers: the number of each box's answer, (D,). hits: whether it matches a true box that no earlier one matched, by
    threshold, (T, D). num_true: true boxes of each answer, (N,).
    """

    answers: NDArray[np.int64]
    hits: NDArray[np.bool_]
    num_true: Floats


def mean_precisions(rankings: Sequence[Ranking], weights: Floats) -> Floats:
    """Average precision at each threshold, (T,), the mean over categories that have true boxes; NaN if none has.

    weights: how often each answer counts, (N,). With 1 for each it is COCO's; with whole numbers it is COCO's for a
    data set that holds each image that often. Source: COCOeval.accumulate of pycocotools, 101 levels of recall.
    """
    counts = [float((each.num_true * weights).sum()) for each in rankings]
    found = [_precisions(each, weights, count) for each, count in zip(rankings, counts, strict=True) if count]
    return np.mean(found, axis=0) if found else np.full(len(rankings[0].hits), np.nan)


def _precisions(ranking: Ranking, weights: Floats, num_true: float) -> Floats:
    times = weights[ranking.answers]
    right, all_found = np.cumsum(ranking.hits * times, axis=1), np.cumsum(times)
    precision = right / (all_found + EPSILON)
    best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall, levels = right / num_true, np.linspace(0, 1, 101)
    by_threshold = zip(best_from_here, recall, strict=True)  # a recall that is never reached has a precision of 0
    return np.array([np.append(best, 0)[np.searchsorted(reached, levels)].mean() for best, reached in by_threshold])


def rankings(rows: pd.DataFrame) -> list[Ranking]:
    """The ranking of each category, from answers about whole categories; pycocotools matches the boxes."""
    categories = {name: number for number, name in enumerate(sorted({*rows["expression"]}), start=1)}
    images = {name: number for number, name in enumerate(sorted({*rows["image_id"]}), start=1)}
    keys = [(images[image], categories[name]) for image, name in rows[["image_id", "expression"]].to_numpy()]
    true = _annotations(keys, rows["true_boxes"])
    found = _annotations(keys, rows["boxes"], rows["box_scores"])
    with redirect_stdout(StringIO()):  # pycocotools prints its progress
        matching = COCOeval(_coco(images, categories, true), _coco(images, categories, found), "bbox")
        matching.params.areaRng, matching.params.areaRngLbl = matching.params.areaRng[:1], ["all"]
        matching.evaluate()
    by_category: dict[int, list[Mapping[str, Any]]] = {}
    for each in filter(None, matching.evalImgs):
        by_category.setdefault(each["category_id"], []).append(each)
    answers = {key: number for number, key in enumerate(keys)}
    return [_ranking(each, answers) for each in by_category.values()]


def _ranking(matched: Sequence[Mapping[str, Any]], answers: Mapping[tuple[int, int], int]) -> Ranking:
    """The ranking of one category; ``matched`` is what pycocotools returns for each image."""
    own = np.array([answers[each["image_id"], each["category_id"]] for each in matched])
    num_true = np.zeros(len(answers))
    num_true[own] = [len(each["gtIds"]) for each in matched]
    scores = np.concatenate([np.asarray(each["dtScores"], dtype=float) for each in matched])
    order = np.argsort(-scores, kind="stable")
    hits = np.concatenate([each["dtMatches"] for each in matched], axis=1) > 0
    return Ranking(np.repeat(own, [len(each["dtScores"]) for each in matched])[order], hits[:, order], num_true)


def _annotations(
    keys: Sequence[tuple[int, int]], boxes: pd.Series, scores: pd.Series | None = None
) -> list[dict[str, Any]]:
    """The boxes of each question as COCO's annotations, with their scores if they were found."""
    made: list[dict[str, Any]] = []
    for row, (image, category) in enumerate(keys):
        for number, box in enumerate(boxes.iloc[row]):
            x1, y1, x2, y2 = (float(value) for value in box)
            made.append(
                {
                    "id": len(made) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(area(box)),
                    "iscrowd": 0,
                }
            )
            if scores is not None:
                made[-1]["score"] = float(scores.iloc[row][number])
    return made


def _coco(images: dict[str, int], categories: dict[str, int], annotations: list[dict[str, Any]]) -> COCO:
    made = COCO()
    made.dataset = {
        "images": [{"id": number} for number in images.values()],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
        "annotations": annotations,
    }
    made.createIndex()
    return made
