"""The kind of each ``rec_box`` answer: correct, or in which way it is wrong; each answer has one kind.

The limits are those of TIDE (Bolya et al., ECCV 2020, github.com/dbolya/tide): IoU 0.5 and, for the background, 0.1.
Deviations: TIDE asks which objects of a picture were detected; here each question means one region and has one answer,
so nothing is missed or found twice, and an answer on another object is wrong at any overlap above the background's.
TIDE has nothing like LUCK, since a detector is not asked with words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vilam.data.records import ImageRecord
from vilam.evaluation.task_metrics import IOU_THRESHOLD
from vilam.geometry.boxes import Box, iou
from vilam.inference.answering import Records
from vilam.tasks import TASKS

BACKGROUND = 0.1
"""An answer with a lower IoU than this with every region lies on none."""
LUCKY_SHARE = 0.5
"""A right answer is luck if the model gave it to at least this share of the questions about other regions."""
NO_BOX: Box = (0.0, 0.0, 0.0, 0.0)
"""In the place of an answer that cannot be parsed; it overlaps nothing."""
CORRECT, LUCK, LOOSE, SAME_CLASS, OTHER_CLASS, NOTHING, UNREADABLE = KINDS = (
    "correct",
    "right by luck",
    "loose box",
    "wrong object, same class",
    "wrong class",
    "nothing there",
    "unreadable",
)
DEFINITIONS = {
    CORRECT: "IoU with the region of at least 0.5",
    LUCK: (
        "correct, but the model gave this box (IoU at least 0.5) to at least half of the questions about the picture's "
        "other regions too: it answers this place whatever is asked"
    ),
    LOOSE: "of all regions it overlaps the right one most, with an IoU from 0.1 to 0.5",
    SAME_CLASS: "it overlaps another region of the same category most, with an IoU of at least 0.1",
    OTHER_CLASS: "it overlaps a region of another category most, with an IoU of at least 0.1",
    NOTHING: "its IoU with every region is below 0.1",
    UNREADABLE: "it cannot be parsed as a box",
}
"""Each kind in words, for the report."""


def error_kinds(rows: pd.DataFrame, records: Records) -> list[str]:
    """One of KINDS for each ``rec_box`` row of an evaluation, "" for the others.

    CORRECT and LUCK together are the answers that ``rec_box/acc_0.5`` counts.
    """
    asked: dict[str, dict[int, tuple[str, str]]] = {}
    columns = (rows[name] for name in ("task", "image_id", "region_id", "answer"))
    for number, (task, image_id, target, answer) in enumerate(zip(*columns, strict=True)):
        if task == "rec_box":
            asked.setdefault(image_id, {})[number] = (target, answer)
    kinds = [""] * len(rows)
    for image_id, own in asked.items():
        for number, kind in zip(own, _of_image([*own.values()], records[image_id]), strict=True):
            kinds[number] = kind
    return kinds


def _of_image(asked: Sequence[tuple[str, str]], record: ImageRecord) -> list[str]:
    """The kinds of the answers to the questions about an image: pairs of (region_id, answer)."""
    ids = [region.region_id for region in record.regions]
    categories = np.array([region.category for region in record.regions])
    regions = [region.box_xyxy for region in record.regions]
    targets = np.array([ids.index(target) for target, _ in asked])
    readings = [TASKS["rec_box"].parse(answer, record.width, record.height) for _, answer in asked]
    boxes = [reading.box_xyxy if reading and reading.box_xyxy else NO_BOX for reading in readings]

    overlaps = iou(boxes, regions)
    with_target = overlaps[np.arange(len(boxes)), targets]
    with_nearest = overlaps.max(axis=1)
    nearest = np.where(with_target == with_nearest, targets, overlaps.argmax(axis=1))
    elsewhere = (iou(regions, regions) < IOU_THRESHOLD)[np.ix_(targets, targets)]
    same_place = elsewhere & (iou(boxes, boxes) >= IOU_THRESHOLD)
    is_lucky = same_place.any(axis=1) & (same_place.sum(axis=1) >= LUCKY_SHARE * elsewhere.sum(axis=1))
    conditions = {
        UNREADABLE: np.array([reading is None for reading in readings]),
        LUCK: (with_target >= IOU_THRESHOLD) & is_lucky,
        CORRECT: with_target >= IOU_THRESHOLD,
        NOTHING: with_nearest < BACKGROUND,
        LOOSE: nearest == targets,
        SAME_CLASS: categories[nearest] == categories[targets],
    }
    return [str(kind) for kind in np.select([*conditions.values()], [*conditions], OTHER_CLASS)]
