"""A model's answers, and the row that each becomes: read back and scored by its own task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.data.store import content_hash
from vilam.errors import VilamError
from vilam.evaluation.breakdowns import SEEN, UNSEEN, length_name, size_name
from vilam.evaluation.groups import box_scores
from vilam.geometry import boxes
from vilam.inference.answering import Records
from vilam.tasks import ALL_TASKS, GROUP_TASKS, TASKS
from vilam.tasks.base import Reading
from vilam.tasks.presence import probability_of_yes

Key = tuple[str, str]
"""image_id, region_id."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's answer to an instruction.

    answer: as generated, constrained to the task's grammar. confidence: geometric mean of its tokens' probabilities.
    probability: of the whole answer among all answers that were possible. coordinates: of each coordinate in it.
    """

    instruction: Instruction
    answer: str
    confidence: float
    probability: float = 1.0
    coordinates: tuple[float, ...] = ()


def box_iou_of(answer: str, asked: Instruction, records: Records, card: DatasetCard) -> float:
    """The IoU of a box that was written in answer to rec_box with the true one; 0 if the answer cannot be read."""
    record = records[asked.image_id]
    return TASKS["rec_box"].judge(answer, record, record.region(asked.region_id), card)["iou"]


def prediction_rows(
    predictions: Sequence[Prediction], records: Records, card: DatasetCard, round_trips: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """One row a prediction, in their order; `vilam.evaluation.evaluator.Evaluation` lists the columns.

    round_trips: for the instruction_id of a reg_caption prediction, the rec_box answer to its expression.
    Raises VilamError if a prediction has an image, a region, a group or a task that is unknown.
    """
    bare, pictures = _without_pixels(predictions, records)
    regions = _described_regions(predictions, bare)
    for prediction in predictions:
        asked = prediction.instruction
        record = bare[asked.image_id]
        if asked.task not in ALL_TASKS:
            known = ", ".join(ALL_TASKS)
            raise VilamError(f"instruction {asked.instruction_id}: {asked.task} is not an evaluated task ({known})")
        parsed = ALL_TASKS[asked.task].parse(prediction.answer, record.width, record.height)
        row = _common(prediction, parsed is None) | {"picture": pictures[asked.image_id]}
        # An unreadable answer scores 0, yet the union of its mask is the true area, as cumulative IoU needs it.
        reading = parsed or Reading()
        if asked.task in GROUP_TASKS:
            yield row | _group_row(prediction, reading, record, card)
        else:
            region = _region(regions, asked)
            row |= _region_row(asked, reading, record, region, card)
            yield row | _round_trip(row, record, region, card, round_trips)


def same_pictures(hashes: Mapping[str, str]) -> dict[str, str]:
    """For each image id the first id with the same hash of its content: one picture may stand in several splits."""
    first: dict[str, str] = {}
    return {image_id: first.setdefault(content, image_id) for image_id, content in hashes.items()}


def _without_pixels(
    predictions: Sequence[Prediction], records: Records
) -> tuple[dict[str, ImageRecord], dict[str, str]]:
    """The records without their pixels, which would fill the memory, and the pictures; each image is read once."""
    bare, hashes = {}, {}
    for image_id in dict.fromkeys(prediction.instruction.image_id for prediction in predictions):
        try:
            record = records[image_id]
        except KeyError:
            advice = "run prepare and synthesize again"
            raise VilamError(f"image {image_id} has an answer but no record: {advice}") from None
        hashes[image_id] = content_hash(record.image)
        bare[image_id] = replace(record, image=b"")
    return bare, same_pictures(hashes)


def _described_regions(predictions: Sequence[Prediction], records: Mapping[str, ImageRecord]) -> dict[Key, Region]:
    """The regions of the records; one without expressions has those that the instructions use for it, once each."""
    used: dict[Key, dict[Expression, None]] = {}
    for asked in (prediction.instruction for prediction in predictions):
        if asked.expression:
            expression = Expression(asked.expression, asked.expression_kind, asked.expression_source)
            used.setdefault((asked.image_id, asked.region_id), {})[expression] = None
    regions = {(record.image_id, region.region_id): region for record in records.values() for region in record.regions}
    bare = {key: region for key, region in regions.items() if not region.expressions}
    return regions | {key: replace(region, expressions=tuple(used.get(key, ()))) for key, region in bare.items()}


def _region(regions: Mapping[Key, Region], asked: Instruction) -> Region:
    try:
        return regions[asked.image_id, asked.region_id]
    except KeyError:
        where = f"instruction {asked.instruction_id}: image {asked.image_id} has no region {asked.region_id}"
        raise VilamError(f"{where}: run synthesize again") from None


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
        "expression_length": length_name(asked.expression),
        "truth": asked.answer,
        "answer": prediction.answer,
        "confidence": prediction.confidence,
        "invalid": is_invalid,
    }


def _region_row(
    asked: Instruction, reading: Reading, record: ImageRecord, region: Region, card: DatasetCard
) -> dict[str, Any]:
    return {
        "category": region.category,
        "seen": _seen(region.category, card),
        "size": size_name(float(boxes.area(region.box_xyxy)), record.width * record.height),
        "references": tuple(expression.text for expression in region.expressions),
        **TASKS[asked.task].score(reading, record, region, card),
    }


def _group_row(prediction: Prediction, reading: Reading, record: ImageRecord, card: DatasetCard) -> dict[str, Any]:
    asked = prediction.instruction
    try:
        group = record.group(asked.region_id)
    except StopIteration:
        where = f"instruction {asked.instruction_id}: image {asked.image_id} has no group {asked.region_id}"
        raise VilamError(f"{where}: run synthesize again") from None
    category = group.text if group.kind == "class" else ""
    seen = _seen(category, card) if category else ""
    row: dict[str, Any] = {"category": category, "seen": seen, "size": "", "references": ()}
    row |= GROUP_TASKS[asked.task].score(reading, record, group)
    if asked.task == "presence":
        return row | {"present": probability_of_yes(reading, prediction.probability)}
    found = [list(box) for box in reading.boxes or ()]
    true = [list(region.box_xyxy) for region in record.members(group)]
    return row | {"true_boxes": true, "boxes": found, "box_scores": box_scores(prediction.coordinates, len(found))}


def _seen(category: str, card: DatasetCard) -> str:
    return (UNSEEN if category in card.unseen else SEEN) if card.unseen else ""


def _round_trip(
    row: Mapping[str, Any], record: ImageRecord, region: Region, card: DatasetCard, round_trips: Mapping[str, str]
) -> dict[str, Any]:
    """The box found from the generated expression; an expression that could not be read finds none and scores 0."""
    answer = round_trips.get(row["instruction_id"], "" if round_trips and row["invalid"] else None)
    if row["task"] != "reg_caption" or answer is None:
        return {}
    return {"round_trip_answer": answer, "round_trip_iou": TASKS["rec_box"].judge(answer, record, region, card)["iou"]}
