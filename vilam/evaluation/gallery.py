"""Pictures of answers and the truth: the worst, a random sample and the best of each task."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

import pandas as pd
from PIL import Image

from vilam.data.records import DatasetCard, ImageRecord
from vilam.evaluation.drawing import GREEN, LINE_WIDTH, ORANGE, Bones, draw, fit
from vilam.inference.answering import Records
from vilam.tasks import ALL_TASKS
from vilam.tasks.base import Reading

SCORES = ("iou", "oks", "correct", "cider", "f1")
"""The score by which a task's answers are ranked: the first of these columns that it fills."""
GROUPS = ("worst", "random", "best")

Row = Mapping[Hashable, Any]


def pictures(
    rows: pd.DataFrame, records: Records, card: DatasetCard, count: int, seed: int
) -> Iterator[tuple[str, bytes]]:
    """Up to ``count`` answers of each task as names (``rec_box_worst_01``) and JPEGs: truth green, answer orange.

    seed: of the random sample.
    """
    for task in (task for task in ALL_TASKS if (rows["task"] == task).any()):
        of_task = rows[rows["task"] == task]
        for group, chosen in choose(of_task, score_column(of_task), count, seed).items():
            for number, row in enumerate(chosen.to_dict("records"), start=1):
                yield f"{task}_{group}_{number:02d}", _picture(row, records[row["image_id"]], card)


def score_column(rows: pd.DataFrame) -> str:
    """The column that ranks the answers of one task."""
    return next(column for column in SCORES if column in rows and rows[column].notna().all())


def choose(rows: pd.DataFrame, score: str, count: int, seed: int) -> dict[str, pd.DataFrame]:
    """Rows by GROUPS, none twice: a random third of ``count``, and of the other rows the worst and the best.

    The worst have the lowest score; of equal scores, the most confident come first. The sample is taken from all rows
    first, so that it is fair.
    """
    third = count // 3
    sample = rows.sample(min(len(rows), third), random_state=seed)
    rest = rows.drop(sample.index)
    worst = rest.sort_values([score, "confidence"], ascending=[True, False], kind="stable").head(count - 2 * third)
    best = rest.drop(worst.index).sort_values([score, "confidence"], ascending=False, kind="stable").head(third)
    return dict(zip(GROUPS, (worst, sample, best), strict=True))


def _picture(row: Row, record: ImageRecord, card: DatasetCard) -> bytes:
    schema = card.keypoints.get(row["category"])
    bones: Bones = schema.skeleton if schema else ()
    with Image.open(BytesIO(record.image)) as image:
        picture, scale = fit(image)
    thin = max(LINE_WIDTH, round(max(picture.size) / 160))
    # The truth's line is wider, so that it still shows under an answer that is the same.
    picture = draw(picture, _true_reading(row, record), colour=GREEN, bones=bones, scale=scale, width=2 * thin + 1)
    picture = draw(picture, answer_reading(row, record), colour=ORANGE, bones=bones, scale=scale, width=thin)
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=90, subsampling=0)
    return stream.getvalue()


def _true_reading(row: Row, record: ImageRecord) -> Reading:
    """The true answer; of a question about a region the region, of one about presence all regions that are meant."""
    if row["task"] == "presence":
        members = record.members(record.group(row["region_id"]))
        return Reading(boxes=tuple(region.box_xyxy for region in members))
    if ALL_TASKS[row["task"]].direction == "reg":
        return Reading(box_xyxy=record.region(row["region_id"]).box_xyxy)
    return _read(row["task"], row["truth"], record)


def answer_reading(row: Row, record: ImageRecord) -> Reading:
    """What to draw of an answer, a row of ``Evaluation.rows``; of an expression the box that was found from it."""
    if row["task"] == "presence":
        return Reading()
    if ALL_TASKS[row["task"]].direction == "reg":
        return _read("rec_box", row.get("round_trip_answer"), record)
    return _labelled(_read(row["task"], row["answer"], record), _read(row["task"], row["truth"], record))


def _labelled(answer: Reading, truth: Reading) -> Reading:
    """The answer without the points that are unlabelled, (0, 0), in the truth: they are neither scored nor drawn."""
    if answer.points is None or truth.points is None or len(answer.points) != len(truth.points):
        return answer
    pairs = zip(answer.points, truth.points, strict=True)
    return replace(answer, points=tuple((0.0, 0.0) if true == (0, 0) else point for point, true in pairs))


def _read(task: str, answer: Any, record: ImageRecord) -> Reading:
    reading = ALL_TASKS[task].parse(answer, record.width, record.height) if isinstance(answer, str) else None
    return reading or Reading()
