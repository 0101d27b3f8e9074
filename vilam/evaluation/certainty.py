"""The risk-coverage curve of the boxes on validation images, and the certainty below which an answer is uncertain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vilam.data.instructions import Instruction
from vilam.evaluation.predictions import box_iou_of
from vilam.evaluation.task_metrics import IOU_THRESHOLD
from vilam.inference.answering import Records, answer_all
from vilam.inference.certainty import REC, Located, certainties
from vilam.inference.model import Model

KEPT = 0.9
"""The fraction of the right answers that are not called uncertain."""
FEWEST, MOST = 50, 500
"""The number of right answers without which there is no threshold, and of questions at most."""
BATCH = 64


def certainty_curve(model: Model, records: Records, instructions: Sequence[Instruction]) -> dict[str, Any] | None:
    """Asks about validation images; what run.json keeps, or None with fewer than FEWEST right answers.

    threshold: the certainty that 90 % of the right answers reach. curve: for the most certain tenth, two tenths … of
    the answers their fraction (coverage), Acc@0.5 and the lowest certainty among them. Nothing is sampled.
    """
    chosen = instructions[:MOST]
    certainty: list[float] = []
    right: list[bool] = []
    for start in range(0, len(chosen), BATCH):
        part = chosen[start : start + BATCH]
        certainty += _certainties(model, records, part, right)
    values, hits = np.array(certainty), np.array(right, dtype=bool)
    if hits.sum() < FEWEST:
        return None
    threshold = float(np.sort(values[hits])[-math.ceil(KEPT * hits.sum())])
    return {
        "rule": f"an answer is uncertain below the certainty that {KEPT:.0%} of the right answers on val reach",
        "threshold": threshold,
        "accuracy_above": float(hits[values >= threshold].mean()),
        "coverage_above": float((values >= threshold).mean()),
        "answers": len(values),
        "curve": _curve(values, hits),
    }


def _certainties(model: Model, records: Records, instructions: Sequence[Instruction], right: list[bool]) -> list[float]:
    """The certainty of each answer, 0 if it has no box; appends to ``right`` whether its IoU reaches 0.5."""
    answers = answer_all(model, records, instructions, BATCH)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(each.image_id for each in instructions))}
    found: dict[int, Located] = {}
    for index, (each, answer) in enumerate(zip(instructions, answers, strict=True)):
        record = records[each.image_id]
        right.append(box_iou_of(answer.text, each, records, model.card) >= IOU_THRESHOLD)
        reading = REC.parse(answer.text, record.width, record.height)
        if reading is not None and reading.box_xyxy is not None:
            image = numbers[each.image_id]
            found[index] = Located(image, record, each.expression, reading.box_xyxy, answer.confidence)
    images = model.network.preprocess([records[image_id].image for image_id in numbers])
    scores = dict(zip(found, certainties(model, images, list(found.values())), strict=True))
    return [scores.get(index, 0.0) for index in range(len(instructions))]


def _curve(certainty: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> list[dict[str, float]]:
    order = np.argsort(-certainty, kind="stable")
    counts = [math.ceil(tenth * len(order) / 10) for tenth in range(1, 11)]
    return [
        {
            "coverage": count / len(order),
            "acc_0.5": float(right[order[:count]].mean()),
            "certainty": float(certainty[order[count - 1]]),
        }
        for count in counts
    ]
