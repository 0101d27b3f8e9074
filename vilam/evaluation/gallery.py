"""Drawings of answers and the truth: the worst, a random sample and the best of each task."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One answer to look at.

    row: of ``Evaluation.rows``, as a dict. before: the same instruction's row of the model before, if any. score: the
    name of the column that ranks this task's answers. picture: a JPEG of the answer drawn on the image.
    """

    task: str
    group: str
    row: Row
    before: Row | None
    score: str
    picture: bytes


def exhibits(
    rows: pd.DataFrame, before: pd.DataFrame | None, records: Records, card: DatasetCard, count: int, seed: int
) -> Iterator[Exhibit]:
    """Up to ``count`` answers of each task as pictures: truth green, answer orange.

    before: rows of the same instructions by the model before, if any. seed: of the random sample.
    """
    earlier = {} if before is None else {row["instruction_id"]: row for row in before.to_dict("records")}
    for task in (task for task in ALL_TASKS if (rows["task"] == task).any()):
        of_task = rows[rows["task"] == task]
        score = score_column(of_task)
        for group, chosen in choose(of_task, score, count, seed).items():
            for row in chosen.to_dict("records"):
                picture = _picture(row, records[row["image_id"]], card)
                yield Exhibit(task, group, row, earlier.get(row["instruction_id"]), score, picture)


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
    truth, answer = _readings(row, record)
    thin = max(LINE_WIDTH, round(max(picture.size) / 160))
    # The truth's line is wider, so that it still shows under an answer that is the same.
    picture = draw(picture, truth, colour=GREEN, bones=bones, scale=scale, width=2 * thin + 1)
    picture = draw(picture, answer, colour=ORANGE, bones=bones, scale=scale, width=thin)
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=90, subsampling=0)
    return stream.getvalue()


def _readings(row: Row, record: ImageRecord) -> tuple[Reading, Reading]:
    """The truth and the answer to draw; of an expression the region, and the box that was found from the expression."""
    if row["task"] == "presence":
        members = record.members(record.group(row["region_id"]))
        return Reading(boxes=tuple(region.box_xyxy for region in members)), Reading()
    if ALL_TASKS[row["task"]].direction == "reg":
        region = record.region(row["region_id"])
        return Reading(box_xyxy=region.box_xyxy), _read("rec_box", row.get("round_trip_answer"), record)
    truth = _read(row["task"], row["truth"], record)
    return truth, _labelled(_read(row["task"], row["answer"], record), truth)


def _labelled(answer: Reading, truth: Reading) -> Reading:
    """The answer without the points that are unlabelled, (0, 0), in the truth: they are neither scored nor drawn."""
    if answer.points is None or truth.points is None or len(answer.points) != len(truth.points):
        return answer
    pairs = zip(answer.points, truth.points, strict=True)
    return replace(answer, points=tuple((0.0, 0.0) if true == (0, 0) else point for point, true in pairs))


def _read(task: str, answer: Any, record: ImageRecord) -> Reading:
    reading = ALL_TASKS[task].parse(answer, record.width, record.height) if isinstance(answer, str) else None
    return reading or Reading()
