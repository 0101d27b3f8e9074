"""The dialogue of two turns: the first asks for the box of an expression, the second for the category of that box.

The second turn asks about the box that the model found, not about the true one: a mistake in the first turn carries
over to the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, ImageRecord
from vilam.evaluation.estimates import Bootstrap, Metric, mean_of
from vilam.evaluation.predictions import Prediction, box_iou_of
from vilam.evaluation.task_metrics import IOU_THRESHOLD
from vilam.inference.answering import Records
from vilam.tasks import TASKS

NAME = "dialogue"
"""The prefix of these metrics, which have no task."""
FIRST, SECOND = TASKS["rec_box"], TASKS["reg_class"]


def second_turns(predictions: Sequence[Prediction], records: Records, card: DatasetCard) -> list[Instruction]:
    """A question of reg_class about each box that was found, with the id of the question that found it.

    A box that cannot be read has no second turn. There are none if the data set has fewer than two categories.
    """
    turns = (_second_turn(each, records[each.instruction.image_id]) for each in _first_turns(predictions, card))
    return [turn for turn in turns if turn is not None]


def _first_turns(predictions: Sequence[Prediction], card: DatasetCard) -> list[Prediction]:
    turns = [each for each in predictions if each.instruction.task == FIRST.name]
    return turns if len(card.categories) > 1 else []


def _second_turn(found: Prediction, record: ImageRecord) -> Instruction | None:
    instruction = found.instruction
    reading = FIRST.parse(found.answer, record.width, record.height)
    if reading is None or reading.box_xyxy is None:
        return None
    region = replace(record.region(instruction.region_id), box_xyxy=reading.box_xyxy)
    question, answer = SECOND.question(0, record, region, None), SECOND.answer(record, region, None)
    return replace(instruction, task=SECOND.name, question=question, answer=answer, template=0)


def dialogue_metrics(
    predictions: Sequence[Prediction],
    answers: Sequence[Prediction],
    records: Records,
    card: DatasetCard,
    content_ids: Mapping[str, str],
    resamples: int,
    seed: int,
) -> Iterator[Metric]:
    """``accuracy``, ``found_and_named`` with their intervals, and ``total``, over all questions of rec_box.

    predictions: the first turns, among others. answers: those to `second_turns`. content_ids: of `Evaluation`.
    accuracy: the category is the region's; a box that cannot be read counts as wrong. found_and_named: and the box has
    an IoU of 0.5 or more with the true one. Yields nothing without first turns.
    """
    turns = _first_turns(predictions, card)
    if not turns:
        return
    instructions = [each.instruction for each in turns]
    categories = {each.instruction.instruction_id: each.answer for each in answers}
    named = [_is_named(categories.get(each.instruction_id, ""), each, records, card) for each in instructions]
    ious = [box_iou_of(each.answer, each.instruction, records, card) for each in turns]
    both = [is_named and iou >= IOU_THRESHOLD for is_named, iou in zip(named, ious, strict=True)]
    yield f"{NAME}/total", float(len(turns))
    images = Bootstrap([content_ids[each.image_id] for each in instructions], resamples, seed)
    yield from images.metrics(NAME, [mean_of("accuracy", named), mean_of("found_and_named", both)])


def _is_named(answer: str, instruction: Instruction, records: Records, card: DatasetCard) -> bool:
    record = records[instruction.image_id]
    return SECOND.judge(answer, record, record.region(instruction.region_id), card)["correct"] == 1
