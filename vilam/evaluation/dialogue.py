"""The dialogue: where is it, and then, of the box just found, what is it.

The second turn is about the box that the model found itself, not the true one: a slip of the first is a slip of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, ImageRecord
from vilam.evaluation.evaluator import Prediction, Records
from vilam.evaluation.metrics import IOU_THRESHOLD, Bootstrap, Metric, mean_of, with_intervals
from vilam.tasks import TASKS

NAME = "dialogue"
"""What its metrics begin with, in place of a task."""
FIRST, SECOND = TASKS["rec_box"], TASKS["reg_class"]


def second_turns(predictions: Sequence[Prediction], records: Records, card: DatasetCard) -> list[Instruction]:
    """A question of reg_class on each box that was found, under the id of the question that found it.

    Boxes that cannot be read are asked nothing; nothing is, where there are no two categories to tell apart.
    """
    turns = (_second_turn(each, records[each.instruction.image_id]) for each in _first_turns(predictions, card))
    return [turn for turn in turns if turn is not None]


def _first_turns(predictions: Sequence[Prediction], card: DatasetCard) -> list[Prediction]:
    asked = [each for each in predictions if each.instruction.task == FIRST.name]
    return asked if len(card.categories) > 1 else []


def _second_turn(found: Prediction, record: ImageRecord) -> Instruction | None:
    asked = found.instruction
    reading = FIRST.parse(found.answer, record.width, record.height)
    if reading is None or reading.box_xyxy is None:
        return None
    region = replace(record.region(asked.region_id), box_xyxy=reading.box_xyxy)
    question, answer = SECOND.question(0, record, region, None), SECOND.answer(record, region, None)
    return replace(asked, task=SECOND.name, question=question, answer=answer, template=0)


def dialogue_metrics(
    predictions: Sequence[Prediction],
    answers: Sequence[Prediction],
    records: Records,
    card: DatasetCard,
    pictures: Mapping[str, str],
    bootstrap: int,
    seed: int,
) -> Iterator[Metric]:
    """``accuracy``, ``found_and_named`` with their intervals, and ``total``, of all that rec_box was asked.

    predictions: those of the first turn among them. answers: those to `second_turns`. pictures: of `Evaluation`.
    accuracy: the category is the region's; a box that cannot be read counts as wrong. found_and_named: and the box has
    an IoU of 0.5 with the true one. Nothing where no second turn was taken.
    """
    asked, said = _first_turns(predictions, card), {each.instruction.instruction_id: each.answer for each in answers}
    if not asked:
        return
    turns = [(each, records[each.instruction.image_id]) for each in asked]
    named = [_named(said.get(each.instruction.instruction_id, ""), each, record, card) for each, record in turns]
    found = [_found(each, record, card) for each, record in turns]
    both = [right and there for right, there in zip(named, found, strict=True)]
    yield f"{NAME}/total", float(len(asked))
    images = Bootstrap([pictures[record.image_id] for _, record in turns], bootstrap, seed)
    yield from with_intervals(NAME, [mean_of("accuracy", named), mean_of("found_and_named", both)], images)


def _named(answer: str, asked: Prediction, record: ImageRecord, card: DatasetCard) -> bool:
    return SECOND.judge(answer, record, record.region(asked.instruction.region_id), card)["correct"] == 1


def _found(asked: Prediction, record: ImageRecord, card: DatasetCard) -> bool:
    region = record.region(asked.instruction.region_id)
    return FIRST.judge(asked.answer, record, region, card)["iou"] >= IOU_THRESHOLD
