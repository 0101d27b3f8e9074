"""The protocol ``vilam-oracle``: each expression is asked with every template of rec_box, and the best box counts.

Source: the paper's public script, which asks until an answer has an IoU of 0.5 with the truth. This is the case exactly
if the best of all answers reaches 0.5. The truth chooses the answer, so no number of it compares with a strict one:
each has "oracle" in its name, and neither the gate of `register` nor `vilam compare` uses them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, Expression
from vilam.evaluation.estimates import Bootstrap, Metric, mean_of
from vilam.evaluation.predictions import Prediction, box_iou_of
from vilam.evaluation.task_metrics import IOU_THRESHOLD
from vilam.inference.answering import Records
from vilam.tasks import TASKS

NAME = "rec_box_oracle"
"""The prefix of these metrics, which have no task."""
TASK = TASKS["rec_box"]


def rewordings(predictions: Sequence[Prediction], records: Records) -> list[Instruction]:
    """The answered questions of rec_box, with their ids, in all templates except the one that was asked."""
    questions: list[Instruction] = []
    for instruction in _rec_box_instructions(predictions):
        record = records[instruction.image_id]
        region, expression = record.region(instruction.region_id), Expression(instruction.expression)
        for template in (each for each in range(len(TASK.templates)) if each != instruction.template):
            question = TASK.question(template, record, region, expression)
            questions.append(replace(instruction, template=template, question=question))
    return questions


def _rec_box_instructions(predictions: Sequence[Prediction]) -> list[Instruction]:
    return [each.instruction for each in predictions if each.instruction.task == TASK.name]


def oracle_metrics(
    predictions: Sequence[Prediction],
    reworded: Sequence[Prediction],
    records: Records,
    card: DatasetCard,
    content_ids: Mapping[str, str],
    resamples: int,
    seed: int,
) -> Iterator[Metric]:
    """``acc_0.5`` of the best of each expression's answers, with its interval, ``total`` expressions, ``templates``.

    predictions: the strict ones, which count too. reworded: those to `rewordings`. content_ids: of `Evaluation`.
    Yields nothing if rec_box was not asked.
    """
    answers: dict[str, list[str]] = {}
    for each in (*predictions, *reworded):
        answers.setdefault(each.instruction.instruction_id, []).append(each.answer)
    instructions = _rec_box_instructions(predictions)
    if not instructions:
        return
    best = [
        max(box_iou_of(answer, each, records, card) for answer in answers[each.instruction_id]) for each in instructions
    ]
    yield f"{NAME}/total", float(len(instructions))
    yield f"{NAME}/templates", float(len(TASK.templates))
    images = Bootstrap([content_ids[each.image_id] for each in instructions], resamples, seed)
    yield from images.metrics(NAME, [mean_of("acc_0.5", [iou >= IOU_THRESHOLD for iou in best])])
