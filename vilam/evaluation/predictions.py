"""A model's answers, and their rows of scores: each answer is parsed and scored by its own task."""

from __future__ import annotations

import hashlib
import json
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
    probability: of the whole answer among all answers that were possible. coordinates: the probability of each
    coordinate in it.
    """

    instruction: Instruction
    answer: str
    confidence: float
    probability: float = 1.0
    coordinates: tuple[float, ...] = ()


def box_iou_of(answer: str, instruction: Instruction, records: Records, card: DatasetCard) -> float:
    """The IoU of an answer to rec_box with the true box; 0 if the answer cannot be read."""
    record = records[instruction.image_id]
    return TASKS["rec_box"].judge(answer, record, record.region(instruction.region_id), card)["iou"]


def prediction_rows(
    predictions: Sequence[Prediction], records: Records, card: DatasetCard, round_trips: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """One row per prediction, in their order; `vilam.evaluation.evaluator.Evaluation` lists the columns.

    round_trips: for the instruction_id of a reg_caption prediction, the rec_box answer to its expression.
    Raises VilamError if a prediction has an image, a region, a group or a task that is unknown.
    """
    bare, hashes = _without_pixels(predictions, records)
    content_ids = content_ids_of(hashes)
    digests = {image_id: _digest(record, hashes[image_id]) for image_id, record in bare.items()}
    regions = _described_regions(predictions, bare)
    for prediction in predictions:
        instruction = prediction.instruction
        record = bare[instruction.image_id]
        if instruction.task not in ALL_TASKS:
            known = ", ".join(ALL_TASKS)
            raise VilamError(
                f"instruction {instruction.instruction_id}: {instruction.task} is not an evaluated task ({known})"
            )
        parsed = ALL_TASKS[instruction.task].parse(prediction.answer, record.width, record.height)
        row = _common(prediction, parsed is None) | {"content_id": content_ids[instruction.image_id]}
        row["question_id"] = _question_id(instruction, digests[instruction.image_id])
        # An unreadable answer scores 0, yet the union of its mask is the true area, as cumulative IoU needs it.
        reading = parsed or Reading()
        if instruction.task in GROUP_TASKS:
            yield row | _group_row(prediction, reading, record, card)
        else:
            region = _region(regions, instruction)
            row |= _region_row(instruction, reading, record, region, card)
            yield row | _round_trip(row, record, region, card, round_trips)


def content_ids_of(hashes: Mapping[str, str]) -> dict[str, str]:
    """For each image id the first id with the same hash of its content: one image may be in several splits."""
    first: dict[str, str] = {}
    return {image_id: first.setdefault(content, image_id) for image_id, content in hashes.items()}


def _digest(record: ImageRecord, image: str) -> str:
    """Hex digits that differ if the image or what is true about it differs; ``image``: the hash of its content."""
    regions = [
        [
            each.region_id,
            each.box_xyxy,
            each.category,
            each.polygons,
            each.keypoints,
            [one.text for one in each.expressions],
        ]
        for each in record.regions
    ]
    groups = [[group.group_id, group.text, group.region_ids] for group in record.groups]
    return hashlib.sha256(json.dumps([image, regions, groups]).encode()).hexdigest()


def _question_id(instruction: Instruction, record: str) -> str:
    """Hex digits that differ if what is asked, the image or the truth differ, but not for another wording.

    record: the digest of the image's record.
    """
    asked = [instruction.instruction_id, instruction.expression, record]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def _without_pixels(
    predictions: Sequence[Prediction], records: Records
) -> tuple[dict[str, ImageRecord], dict[str, str]]:
    """The records without pixels, which would fill the memory, and the content hashes; each image is read once."""
    bare, hashes = {}, {}
    for image_id in dict.fromkeys(prediction.instruction.image_id for prediction in predictions):
        try:
            record = records[image_id]
        except KeyError:
            advice = "run prepare and synthesize again"
            raise VilamError(f"image {image_id} has an answer but no record: {advice}") from None
        hashes[image_id] = content_hash(record.image)
        bare[image_id] = replace(record, image=b"")
    return bare, hashes


def _described_regions(predictions: Sequence[Prediction], records: Mapping[str, ImageRecord]) -> dict[Key, Region]:
    """The regions of the records; one without expressions has those that the instructions use for it, once each."""
    used: dict[Key, dict[Expression, None]] = {}
    for instruction in (prediction.instruction for prediction in predictions):
        if instruction.expression:
            expression = Expression(instruction.expression, instruction.expression_kind, instruction.expression_source)
            used.setdefault((instruction.image_id, instruction.region_id), {})[expression] = None
    regions = {(record.image_id, region.region_id): region for record in records.values() for region in record.regions}
    bare = {key: region for key, region in regions.items() if not region.expressions}
    return regions | {key: replace(region, expressions=tuple(used.get(key, ()))) for key, region in bare.items()}


def _region(regions: Mapping[Key, Region], instruction: Instruction) -> Region:
    try:
        return regions[instruction.image_id, instruction.region_id]
    except KeyError:
        raise VilamError(_without(instruction, "region")) from None


def _without(instruction: Instruction, kind: str) -> str:
    location = f"instruction {instruction.instruction_id}: image {instruction.image_id}"
    return f"{location} has no {kind} {instruction.region_id}: run synthesize again"


def _common(prediction: Prediction, is_invalid: bool) -> dict[str, Any]:
    instruction = prediction.instruction
    return {
        "instruction_id": instruction.instruction_id,
        "task": instruction.task,
        "split": instruction.split,
        "image_id": instruction.image_id,
        "region_id": instruction.region_id,
        "question": instruction.question,
        "expression": instruction.expression,
        "expression_kind": instruction.expression_kind,
        "expression_length": length_name(instruction.expression),
        "truth": instruction.answer,
        "answer": prediction.answer,
        "confidence": prediction.confidence,
        "invalid": is_invalid,
    }


def _region_row(
    instruction: Instruction, reading: Reading, record: ImageRecord, region: Region, card: DatasetCard
) -> dict[str, Any]:
    return {
        "category": region.category,
        "seen": _seen(region.category, card),
        "size": size_name(float(boxes.area(region.box_xyxy)), record.width * record.height),
        "references": tuple(expression.text for expression in region.expressions),
        **TASKS[instruction.task].score(reading, record, region, card),
    }


def _group_row(prediction: Prediction, reading: Reading, record: ImageRecord, card: DatasetCard) -> dict[str, Any]:
    instruction = prediction.instruction
    try:
        group = record.group(instruction.region_id)
    except StopIteration:
        raise VilamError(_without(instruction, "group")) from None
    category = group.text if group.kind == "class" else ""
    seen = _seen(category, card) if category else ""
    row: dict[str, Any] = {"category": category, "seen": seen, "size": "", "references": ()}
    row |= GROUP_TASKS[instruction.task].score(reading, record, group)
    if instruction.task == "presence":
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
