"""Pictures of answers beside the truth: the worst, some drawn at random and the best of each task."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import pandas as pd
from PIL import Image

from vilam.data.records import DatasetCard, ImageRecord
from vilam.evaluation.evaluator import Records
from vilam.tasks import ALL_TASKS
from vilam.tasks.base import Reading
from vilam.visual import GREEN, LINE_WIDTH, ORANGE, Bones, draw, fit

SCORES = ("iou", "oks", "correct", "cider", "f1")
"""The score that a task's answers are ranked by: the first of these columns that it fills."""
GROUPS = ("worst", "random", "best")

Row = Mapping[Hashable, Any]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One answer to look at. row: of ``Evaluation.rows``, as a dict. picture: JPEG. before: the row of the step before.

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
    schema = card.keypoints.get(row["category"])
    bones: Bones = schema.skeleton if schema else ()
    with Image.open(BytesIO(record.image)) as image:
        picture, scale = fit(image)
    truth, answer = _readings(row, record)
    thin = max(LINE_WIDTH, round(max(picture.size) / 160))
    # the truth's wider line is seen under the answer's where they are the same
    picture = draw(picture, truth, colour=GREEN, bones=bones, scale=scale, width=2 * thin + 1)
    picture = draw(picture, answer, colour=ORANGE, bones=bones, scale=scale, width=thin)
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=90, subsampling=0)
    return stream.getvalue()


def _readings(row: Row, record: ImageRecord) -> tuple[Reading, Reading]:
    """What to draw as truth and as answer; where the answer is words, the region and where those words led back to."""
    if row["task"] == "presence":
        members = record.members(record.group(row["region_id"]))
        return Reading(boxes=tuple(region.box_xyxy for region in members)), Reading()
    if ALL_TASKS[row["task"]].direction == "reg":
        region = record.region(row["region_id"])
        return Reading(box_xyxy=region.box_xyxy), _read("rec_box", row.get("round_trip_answer"), record)
    truth = _read(row["task"], row["truth"], record)
    return truth, _counted(_read(row["task"], row["answer"], record), truth)


def _counted(answer: Reading, truth: Reading) -> Reading:
    """The answer without the points that nobody labelled, (0, 0) in the truth: they are not scored, nor drawn."""
    if answer.points is None or truth.points is None or len(answer.points) != len(truth.points):
        return answer
    pairs = zip(answer.points, truth.points, strict=True)
    return replace(answer, points=tuple((0.0, 0.0) if true == (0, 0) else point for point, true in pairs))


def _read(task: str, answer: Any, record: ImageRecord) -> Reading:
    reading = ALL_TASKS[task].parse(answer, record.width, record.height) if isinstance(answer, str) else None
    return reading or Reading()
