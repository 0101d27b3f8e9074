"""Metrics of tasks on groups: average precision of all boxes of a category, and how well "yes" ranks images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vilam.evaluation.metrics import Bootstrap, Floats, Metric
from vilam.geometry.boxes import area
from vilam.tasks.presence import YES

TINY = 1e-12
AVERAGE_PRECISION = {"ap": 0, "ap_0.5": 1, "ap_0.75": 2}
"""Names, and where COCO's evaluation has them."""


def average_precision(rows: pd.DataFrame) -> Iterator[Metric]:
    """``ap`` (mean over IoU 0.5 to 0.95), ``ap_0.5`` and ``ap_0.75`` by pycocotools, of rec_every's answers.

    Only questions about a whole category count; an image counts for the categories that were asked about it alone, as
    in LVIS. A box is as sure as its four coordinates, in geometric mean. Yields nothing where nothing is to be found.
    """
    asked = rows[rows["expression_kind"] == "class"]
    if not len(asked) or not asked["true_boxes"].str.len().sum():
        return
    categories = {name: number for number, name in enumerate(sorted({*asked["expression"]}), start=1)}
    images = {name: number for number, name in enumerate(sorted({*asked["image_id"]}), start=1)}
    keys = [(images[image], categories[name]) for image, name in asked[["image_id", "expression"]].to_numpy()]
    true = _annotations(keys, asked["true_boxes"])
    found = _annotations(keys, asked["boxes"], asked["box_scores"])
    with redirect_stdout(StringIO()):  # it prints its table
        scored = COCOeval(_coco(images, categories, true), _coco(images, categories, found), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    yield from ((name, float(scored.stats[place])) for name, place in AVERAGE_PRECISION.items())


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
    yield "auc", area_under_curve(sure, is_true, np.ones(len(rows)))
    drawn = [area_under_curve(sure, is_true, weights) for weights in bootstrap.weights()]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    yield "auc_low", float(low)
    yield "auc_high", float(high)


def area_under_curve(scores: Floats, is_true: np.ndarray[Any, Any], weights: Floats) -> float:
    """How often a true one has a higher score than a false one, ties half; NaN where there are none of either.

    scores, is_true, weights: (N,). The area under the ROC curve is this (Hanley and McNeil, 1982).
    """
    _, place = np.unique(scores, return_inverse=True)
    true, false = (np.bincount(place, weights * chosen) for chosen in (is_true, ~is_true))
    below = np.cumsum(false) - false
    pairs = true.sum() * false.sum()
    return float((true * (below + false / 2)).sum() / pairs) if pairs else float("nan")


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
