"""The strict evaluation: one answer an expression, each scored by its own task, unreadable ones as 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pandas as pd

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.errors import VilamError
from vilam.evaluation import metrics
from vilam.evaluation.captions import cider
from vilam.evaluation.coco_captions import coco_caption_metrics
from vilam.evaluation.diversity import diversity
from vilam.geometry import boxes
from vilam.tasks import TASKS
from vilam.tasks.base import GroundingTask, Reading

Key = tuple[str, str]
"""image_id, region_id."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's answer to an instruction.

    answer: as generated, constrained to the task's grammar. confidence: geometric mean of its tokens' probabilities.
    """

    instruction: Instruction
    answer: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found.

    rows: one a prediction, in their order: instruction_id, task, image_id, region_id, question, expression,
    expression_kind, expression_length, truth, answer, confidence, invalid, category, seen (or unseen; "" where nothing
    is held out), size (small, medium, large),
    references (the region's expressions), the score columns of the tasks (iou, intersection, union, oks, pck, correct,
    exact, cider; NaN where another task's) and, of reg_caption with round trips, round_trip_answer and round_trip_iou.
    metrics: by name, e.g. ``rec_box/acc_0.5``; never NaN.
    """

    rows: pd.DataFrame
    metrics: dict[str, float]


class Records(Protocol):
    """Image records by their id."""

    def __getitem__(self, image_id: str, /) -> ImageRecord:
        """The record; KeyError where there is none."""


def evaluate(
    predictions: Sequence[Prediction],
    records: Records,
    card: DatasetCard,
    *,
    bootstrap: int,
    seed: int,
    round_trips: Mapping[str, str] | None = None,
) -> Evaluation:
    """Score predictions against the records of their images.

    bootstrap: draws of the interval over images, seeded by ``seed``. round_trips: for the instruction_id of a
    reg_caption prediction, the rec_box answer to the expression that it generated.
    Raises VilamError where there is nothing to score or a prediction speaks of an image, region or task unknown.
    """
    if not predictions:
        raise VilamError("there are no answers to evaluate: does the split of evaluate.split hold instructions?")
    rows = pd.DataFrame(_rows(predictions, records, card, round_trips or {}))
    if (rows["task"] == "reg_caption").any():
        rows = rows.assign(cider=_cider(rows[rows["task"] == "reg_caption"]))
    return Evaluation(rows, dict(_metrics(rows, bootstrap, seed)))


def _metrics(rows: pd.DataFrame, bootstrap: int, seed: int) -> Iterator[metrics.Metric]:
    for task in TASKS:
        own = rows[rows["task"] == task]
        yield from metrics.task_metrics(task, own, bootstrap, seed)
        yield from metrics.seen_metrics(task, own)
    found = rows[rows["task"] == "rec_box"]
    yield from metrics.breakdown_metrics("rec_box", found)
    yield from metrics.round_trip_metrics(rows)
    told = rows[rows["task"] == "reg_caption"]
    for name, value in coco_caption_metrics(told["answer"].tolist(), told["references"].tolist()).items():
        yield f"reg_caption/{name}", value
    said = told.drop_duplicates(["image_id", "region_id"])["answer"]
    for name, value in diversity(said.tolist()).items():
        yield f"reg_caption/{name}", value


def _rows(
    predictions: Sequence[Prediction], records: Records, card: DatasetCard, round_trips: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    images = dict.fromkeys(prediction.instruction.image_id for prediction in predictions)
    truths = {
        image_id: replace(_record(records, image_id), image=b"") for image_id in images
    }  # the pixels are not held
    regions = _described_regions(truths, _words(predictions))
    for prediction in predictions:
        record, region = truths[prediction.instruction.image_id], _region(regions, prediction.instruction)
        row = _row(prediction, record, region, card)
        yield row | _round_trip(row, record, region, card, round_trips)


def _row(prediction: Prediction, record: ImageRecord, region: Region, card: DatasetCard) -> dict[str, Any]:
    asked = prediction.instruction
    task = _task(asked)
    reading = task.parse(prediction.answer, record.width, record.height)
    return {
        "instruction_id": asked.instruction_id,
        "task": asked.task,
        "image_id": asked.image_id,
        "region_id": asked.region_id,
        "question": asked.question,
        "expression": asked.expression,
        "expression_kind": asked.expression_kind,
        "expression_length": metrics.length_name(asked.expression),
        "truth": asked.answer,
        "answer": prediction.answer,
        "confidence": prediction.confidence,
        "invalid": reading is None,
        "category": region.category,
        "seen": ("unseen" if region.category in card.unseen else "seen") if card.unseen else "",
        "size": metrics.size_name(float(boxes.area(region.box_xyxy)), record.width * record.height),
        "references": tuple(expression.text for expression in region.expressions),
        # an answer that says nothing: 0 in every score, yet its mask's union is the true area, as cumulative IoU wants
        **task.score(reading or Reading(), record, region, card),
    }


def _round_trip(
    row: dict[str, Any], record: ImageRecord, region: Region, card: DatasetCard, round_trips: Mapping[str, str]
) -> dict[str, Any]:
    """Where the generated expression led; words that could not be read lead nowhere and count as 0."""
    answer = round_trips.get(row["instruction_id"], "" if round_trips and row["invalid"] else None)
    if row["task"] != "reg_caption" or answer is None:
        return {}
    finder = TASKS["rec_box"]
    reading = finder.parse(answer, record.width, record.height) or Reading()
    return {"round_trip_answer": answer, "round_trip_iou": finder.score(reading, record, region, card)["iou"]}


def _cider(rows: pd.DataFrame) -> pd.Series:
    documents = rows.drop_duplicates(["image_id", "region_id"])["references"]
    scores = cider(rows["answer"].tolist(), rows["references"].tolist(), documents.tolist())
    return pd.Series(scores, index=rows.index)


def _words(predictions: Sequence[Prediction]) -> dict[Key, tuple[Expression, ...]]:
    """The expressions that the instructions of each region use, once each."""
    words: dict[Key, dict[Expression, None]] = {}
    for asked in (prediction.instruction for prediction in predictions):
        if asked.expression:
            used = Expression(asked.expression, asked.expression_kind, asked.expression_source)
            words.setdefault((asked.image_id, asked.region_id), {})[used] = None
    return {key: tuple(used) for key, used in words.items()}


def _described_regions(
    truths: Mapping[str, ImageRecord], words: Mapping[Key, tuple[Expression, ...]]
) -> dict[Key, Region]:
    """The regions of the records; one that nobody described has the expressions that instructions use for it."""
    regions = {(record.image_id, region.region_id): region for record in truths.values() for region in record.regions}
    bare = {key: region for key, region in regions.items() if not region.expressions}
    return regions | {key: replace(region, expressions=words.get(key, ())) for key, region in bare.items()}


def _record(records: Records, image_id: str) -> ImageRecord:
    try:
        return records[image_id]
    except KeyError:
        raise VilamError(f"image {image_id} has an answer but no record: run prepare and synthesize again") from None


def _region(regions: Mapping[Key, Region], asked: Instruction) -> Region:
    try:
        return regions[asked.image_id, asked.region_id]
    except KeyError:
        where = f"instruction {asked.instruction_id}: image {asked.image_id} has no region {asked.region_id}"
        raise VilamError(f"{where}: run synthesize again") from None


def _task(asked: Instruction) -> GroundingTask:
    if asked.task not in TASKS:
        raise VilamError(f"instruction {asked.instruction_id}: {asked.task} is no evaluated task ({', '.join(TASKS)})")
    return TASKS[asked.task]
