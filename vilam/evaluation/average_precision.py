"""COCO's average precision of all boxes of a category, and its interval over images.

pycocotools matches boxes; what it accumulates from that is done here too, since an interval takes hundreds of draws.
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

from vilam.evaluation.metrics import Bootstrap, Floats, Metric
from vilam.geometry.boxes import area

NAMES = {"ap": slice(None), "ap_0.5": slice(0, 1), "ap_0.75": slice(5, 6)}
"""Names, and the IoU thresholds (0.5, 0.55 … 0.95) that each is the mean over."""
DRAWS = 200
"""Of images, at most: a standard error takes no more (Efron and Tibshirani, 1993, chapter 6)."""
NORMAL = 1.96
"""Standard errors of a 95 % interval."""
EPSILON = np.spacing(1)
"""Where COCO's evaluation has it: no precision is a division by 0."""


def average_precision(rows: pd.DataFrame, draws: int, seed: int) -> Iterator[Metric]:
    """``ap`` (mean over IoU 0.5 to 0.95), ``ap_0.5`` and ``ap_0.75`` of rec_every's answers, each with its interval.

    The interval is that of the standard error: percentiles of draws do not hold the value where categories are many and
    each is rare, since a draw holds fewer different images, and the fewer there are the higher its precision.

    Only questions about a whole category count; an image counts for the categories that were asked about it alone, as
    in LVIS. A box is as sure as its four coordinates, in geometric mean. Yields nothing where nothing is to be found.
    """
    asked = rows[rows["expression_kind"] == "class"]
    if not len(asked) or not asked["true_boxes"].str.len().sum():
        return
    ranked = rankings(asked)
    once = mean_precisions(ranked, np.ones(len(asked)))
    bootstrap = Bootstrap(asked["picture"], min(draws, DRAWS), seed)
    drawn = np.array([mean_precisions(ranked, each) for each in bootstrap.weights()])
    for name, thresholds in NAMES.items():
        value, error = float(once[thresholds].mean()), float(np.nanstd(drawn[:, thresholds].mean(axis=1)))
        interval = max(value - NORMAL * error, 0.0), min(value + NORMAL * error, 1.0)
        yield from bootstrap.told(name, value, interval)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The boxes that were found of one category in all answers, the surest first.

    answers: the number of each box's answer, (D,). hits: whether it meets a true one that no surer box met, by
    threshold, (T, D). num_true: boxes that each of all answers should hold, (N,).
    """

    answers: NDArray[np.int64]
    hits: NDArray[np.bool_]
    num_true: Floats


def mean_precisions(rankings: Sequence[Ranking], weights: Floats) -> Floats:
    """Average precision at each threshold, (T,), the mean over categories of which there is one; NaN where none is.

    weights: how often each answer counts, (N,). With 1 for each it is COCO's; with whole numbers what COCO's is where
    images are there that often. Source: COCOeval.accumulate of pycocotools, 101 levels of recall.
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
    each = zip(best_from_here, recall, strict=True)  # a recall that is never reached has a precision of 0
    return np.array([np.append(best, 0)[np.searchsorted(reached, levels)].mean() for best, reached in each])


def rankings(asked: pd.DataFrame) -> list[Ranking]:
    """What pycocotools finds in the answers about whole categories: which of the boxes meet a true one."""
    categories = {name: number for number, name in enumerate(sorted({*asked["expression"]}), start=1)}
    images = {name: number for number, name in enumerate(sorted({*asked["image_id"]}), start=1)}
    keys = [(images[image], categories[name]) for image, name in asked[["image_id", "expression"]].to_numpy()]
    true = _annotations(keys, asked["true_boxes"])
    found = _annotations(keys, asked["boxes"], asked["box_scores"])
    with redirect_stdout(StringIO()):  # it tells what it does
        matching = COCOeval(_coco(images, categories, true), _coco(images, categories, found), "bbox")
        matching.params.areaRng, matching.params.areaRngLbl = matching.params.areaRng[:1], ["all"]
        matching.evaluate()
    by_category: dict[int, list[Mapping[str, Any]]] = {}
    for each in filter(None, matching.evalImgs):
        by_category.setdefault(each["category_id"], []).append(each)
    answers = {key: number for number, key in enumerate(keys)}
    return [_ranking(each, answers) for each in by_category.values()]


def _ranking(matched: Sequence[Mapping[str, Any]], answers: Mapping[tuple[int, int], int]) -> Ranking:
    """The boxes of a category, of what pycocotools matched in each image."""
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
    """Boxes of each question as COCO's annotations; of those that were found, with their scores."""
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
