"""Pictures of answers beside the truth: the worst, some drawn at random and the best of each task."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pandas as pd
from PIL import Image

from vilam.data.records import DatasetCard, ImageRecord, Region
from vilam.evaluation.evaluator import Records
from vilam.tasks import TASKS
from vilam.tasks.base import Reading
from vilam.visual import GREEN, ORANGE, Bones, draw, fit

SCORES = ("iou", "oks", "correct", "cider")
"""The score that a task's answers are ranked by: the first of these columns that it fills."""
GROUPS = ("worst", "random", "best")

TRUTH_WIDTH = 5
"""Wider than the answer, which is drawn on it: both are seen where they are the same."""

Row = Mapping[Hashable, Any]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One answer to look at. row: of ``Evaluation.rows``, as a dict. picture: PNG. before: the row of the step before.

    score: the name of the column that ranks this task's answers.
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
    """``count`` answers of each task (fewer where there are fewer), drawn: truth green, answer orange.

    before: rows of the same instructions after the step before, if any.
    """
    earlier = {} if before is None else {row["instruction_id"]: row for row in before.to_dict("records")}
    for task in (task for task in TASKS if (rows["task"] == task).any()):
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
    """No row twice: a third of ``count`` drawn at random from all rows; of the others the worst and the best.

    The worst have the lowest score and, of equal ones, are the most confident. The random third is drawn before the
    others are taken away, so that it is a fair sample.
    """
    third = count // 3
    drawn = rows.sample(min(len(rows), third), random_state=seed)
    rest = rows.drop(drawn.index)
    worst = rest.sort_values([score, "confidence"], ascending=[True, False], kind="stable").head(count - 2 * third)
    best = rest.drop(worst.index).sort_values([score, "confidence"], ascending=False, kind="stable").head(third)
    return dict(zip(GROUPS, (worst, drawn, best), strict=True))


def _picture(row: Row, record: ImageRecord, card: DatasetCard) -> bytes:
    region = next(region for region in record.regions if region.region_id == row["region_id"])
    schema = card.keypoints.get(region.category)
    bones: Bones = schema.skeleton if schema else ()
    with Image.open(BytesIO(record.image)) as image:
        picture, scale = fit(image)
    truth, answer = _readings(row, record, region)
    picture = draw(picture, truth, colour=GREEN, bones=bones, scale=scale, width=TRUTH_WIDTH)
    picture = draw(picture, answer, colour=ORANGE, bones=bones, scale=scale)
    stream = BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _readings(row: Row, record: ImageRecord, region: Region) -> tuple[Reading, Reading]:
    """What to draw as truth and as answer; where the answer is words, the region and where those words led back to."""
    if TASKS[row["task"]].direction == "reg":
        return Reading(box_xyxy=region.box_xyxy), _read("rec_box", row.get("round_trip_answer"), record)
    return _read(row["task"], row["truth"], record), _read(row["task"], row["answer"], record)


def _read(task: str, answer: Any, record: ImageRecord) -> Reading:
    reading = TASKS[task].parse(answer, record.width, record.height) if isinstance(answer, str) else None
    return reading or Reading()
