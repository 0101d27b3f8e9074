"""The strict evaluation: one answer an expression, each scored by its own task, unreadable ones as 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pandas as pd

from vilam.data.instructions import Instruction
from vilam.data.leakage import content_hash
from vilam.data.records import DatasetCard, Expression, Group, ImageRecord, Region
from vilam.errors import VilamError
from vilam.evaluation import metrics
from vilam.evaluation.average_precision import average_precision
from vilam.evaluation.captions import cider
from vilam.evaluation.coco_captions import coco_caption_metrics
from vilam.evaluation.diversity import diversity
from vilam.evaluation.groups import box_scores, ranking
from vilam.evaluation.pictures import same_pictures
from vilam.geometry import boxes
from vilam.tasks import ALL_TASKS, GROUP_TASKS, TASKS
from vilam.tasks.base import Reading
from vilam.tasks.presence import probability_of_yes

Key = tuple[str, str]
"""image_id, region_id."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's answer to an instruction.

    answer: as generated, constrained to the task's grammar. confidence: geometric mean of its tokens' probabilities.
    probability: of the whole answer among those that it could have been. coordinates: of each one that it names.
    """

    instruction: Instruction
    answer: str
    confidence: float
    probability: float = 1.0
    coordinates: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found.

    rows: one a prediction, in their order: instruction_id, task, split, image_id, picture (the first image_id that it
    stands under), region_id, question, expression,
    expression_kind, expression_length, truth, answer, confidence, invalid, category, seen (or unseen; "" where nothing
    is held out), size (small, medium, large),
    references (the region's expressions), the score columns of the tasks (iou, intersection, union, oks, pck, correct,
    exact, cider, f1, perfect, is_told_apart, num_true; NaN where another task's) and, of reg_caption with round trips,
    round_trip_answer and round_trip_iou; of rec_every, true_boxes, boxes and box_scores; of presence, present (the
    probability of "yes"). Of tasks on groups region_id is the group's.
    metrics: by name, e.g. ``rec_box/acc_0.5``; never NaN.
    """

    rows: pd.DataFrame
    metrics: dict[str, float]

    @property
    def pictures(self) -> dict[str, str]:
        """By image id the picture of the rows."""
        return dict(zip(self.rows["image_id"], self.rows["picture"], strict=True))


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
        raise VilamError("there are no answers to evaluate: do the splits of evaluate.splits hold instructions?")
    rows = pd.DataFrame(_rows(predictions, records, card, round_trips or {}))
    if (rows["task"] == "reg_caption").any():
        rows = rows.assign(cider=_cider(rows[rows["task"] == "reg_caption"]))
    return Evaluation(rows, dict(_metrics(rows, bootstrap, seed)))


def _metrics(rows: pd.DataFrame, bootstrap: int, seed: int) -> Iterator[metrics.Metric]:
    asked = {*rows["task"]}
    for task in (*TASKS, *(name for name in GROUP_TASKS if name in asked)):
        own = rows[rows["task"] == task]
        yield from metrics.task_metrics(task, own, bootstrap, seed)
        yield from metrics.part_metrics(task, own, bootstrap, seed)
    yield from _group_metrics(rows, bootstrap, seed)
    found = rows[rows["task"] == "rec_box"]
    yield from metrics.breakdown_metrics("rec_box", found)
    yield from metrics.round_trip_metrics(rows, bootstrap, seed)
    told = rows[rows["task"] == "reg_caption"]
    for name, value in coco_caption_metrics(told["answer"].tolist(), told["references"].tolist()).items():
        yield f"reg_caption/{name}", value
    said = told.drop_duplicates(["image_id", "region_id"])["answer"]
    for name, value in diversity(said.tolist()).items():
        yield f"reg_caption/{name}", value


def _group_metrics(rows: pd.DataFrame, bootstrap: int, seed: int) -> Iterator[metrics.Metric]:
    every, presence = (rows[rows["task"] == task] for task in GROUP_TASKS)
    if len(every):
        yield from ((f"rec_every/{name}", value) for name, value in average_precision(every, bootstrap, seed))
    if len(presence):
        draws = metrics.Bootstrap(presence["picture"], bootstrap, seed)
        yield from ((f"presence/{name}", value) for name, value in ranking(presence, draws))


def _rows(
    predictions: Sequence[Prediction], records: Records, card: DatasetCard, round_trips: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    images = dict.fromkeys(prediction.instruction.image_id for prediction in predictions)
    truths, hashes = {}, {}
    for image_id in images:
        record = _record(records, image_id)
        hashes[image_id] = content_hash(record.image)
        truths[image_id] = replace(record, image=b"")  # the pixels are not held
    pictures = same_pictures(hashes)
    regions = _described_regions(truths, _words(predictions))
    for prediction in predictions:
        asked = prediction.instruction
        record = truths[asked.image_id]
        reading = _read(prediction, record)
        common = _common(prediction, reading is None) | {"picture": pictures[asked.image_id]}
        # an answer that says nothing: 0 in every score, yet its mask's union is the true area, as cumulative IoU wants
        said = reading or Reading()
        if asked.task in GROUP_TASKS:
            yield common | _group_row(prediction, said, record, card)
        else:
            region = _region(regions, asked)
            row = common | _region_row(asked, said, record, region, card)
            yield row | _round_trip(row, record, region, card, round_trips)


def _common(prediction: Prediction, is_invalid: bool) -> dict[str, Any]:
    asked = prediction.instruction
    return {
        "instruction_id": asked.instruction_id,
        "task": asked.task,
        "split": asked.split,
        "image_id": asked.image_id,
        "region_id": asked.region_id,
        "question": asked.question,
        "expression": asked.expression,
        "expression_kind": asked.expression_kind,
        "expression_length": metrics.length_name(asked.expression),
        "truth": asked.answer,
        "answer": prediction.answer,
        "confidence": prediction.confidence,
        "invalid": is_invalid,
    }


def _region_row(
    asked: Instruction, said: Reading, record: ImageRecord, region: Region, card: DatasetCard
) -> dict[str, Any]:
    return {
        "category": region.category,
        "seen": _seen(region.category, card),
        "size": metrics.size_name(float(boxes.area(region.box_xyxy)), record.width * record.height),
        "references": tuple(expression.text for expression in region.expressions),
        **TASKS[asked.task].score(said, record, region, card),
    }


def _group_row(prediction: Prediction, said: Reading, record: ImageRecord, card: DatasetCard) -> dict[str, Any]:
    asked = prediction.instruction
    group = _group(record, asked)
    category = group.text if group.kind == "class" else ""
    seen = _seen(category, card) if category else ""
    row: dict[str, Any] = {"category": category, "seen": seen, "size": "", "references": ()}
    row |= GROUP_TASKS[asked.task].score(said, record, group)
    if asked.task == "presence":
        return row | {"present": probability_of_yes(said, prediction.probability)}
    found = [list(box) for box in said.boxes or ()]
    true = [list(region.box_xyxy) for region in record.members(group)]
    return row | {"true_boxes": true, "boxes": found, "box_scores": box_scores(prediction.coordinates, len(found))}


def _seen(category: str, card: DatasetCard) -> str:
    return (metrics.UNSEEN if category in card.unseen else metrics.SEEN) if card.unseen else ""


def _read(prediction: Prediction, record: ImageRecord) -> Reading | None:
    asked = prediction.instruction
    if asked.task not in ALL_TASKS:
        known = ", ".join(ALL_TASKS)
        raise VilamError(f"instruction {asked.instruction_id}: {asked.task} is no evaluated task ({known})")
    return ALL_TASKS[asked.task].parse(prediction.answer, record.width, record.height)


def _group(record: ImageRecord, asked: Instruction) -> Group:
    try:
        return record.group(asked.region_id)
    except StopIteration:
        where = f"instruction {asked.instruction_id}: image {asked.image_id} has no group {asked.region_id}"
        raise VilamError(f"{where}: run synthesize again") from None


def _round_trip(
    row: dict[str, Any], record: ImageRecord, region: Region, card: DatasetCard, round_trips: Mapping[str, str]
) -> dict[str, Any]:
    """Where the generated expression led; words that could not be read lead nowhere and count as 0."""
    answer = round_trips.get(row["instruction_id"], "" if round_trips and row["invalid"] else None)
    if row["task"] != "reg_caption" or answer is None:
        return {}
    return {"round_trip_answer": answer, "round_trip_iou": TASKS["rec_box"].judge(answer, record, region, card)["iou"]}


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
