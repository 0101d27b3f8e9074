"""The protocol ``vilam-oracle``: each expression is asked with every template of rec_box, and the best box counts.

Source: the paper's public script, which asks on until an answer has an IoU of 0.5 with the truth; that is reached where
the best of all answers reaches it. It takes the truth to choose, so that no number of it can stand beside a strict one:
each has "oracle" in its name, and neither the gate of `register` nor `vilam compare` knows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, Expression, ImageRecord
from vilam.evaluation.evaluator import Prediction, Records
from vilam.evaluation.metrics import IOU_THRESHOLD, Bootstrap, Metric, mean_of, with_intervals
from vilam.tasks import TASKS

NAME = "rec_box_oracle"
"""What its metrics begin with, in place of a task."""
TASK = TASKS["rec_box"]


def rewordings(predictions: Sequence[Prediction], records: Records) -> list[Instruction]:
    """The questions of rec_box that were answered, under their ids, in all templates but the one they were asked in."""
    return [question for asked in _asked(predictions) for question in _reworded(asked, records[asked.image_id])]


def _asked(predictions: Sequence[Prediction]) -> list[Instruction]:
    return [each.instruction for each in predictions if each.instruction.task == TASK.name]


def _reworded(asked: Instruction, record: ImageRecord) -> Iterator[Instruction]:
    region, words = record.region(asked.region_id), Expression(asked.expression)
    for template in range(len(TASK.templates)):
        if template != asked.template:
            yield replace(asked, template=template, question=TASK.question(template, record, region, words))


def oracle_metrics(
    predictions: Sequence[Prediction],
    reworded: Sequence[Prediction],
    records: Records,
    card: DatasetCard,
    pictures: Mapping[str, str],
    bootstrap: int,
    seed: int,
) -> Iterator[Metric]:
    """``acc_0.5`` of the best of each expression's answers, with its interval, ``total`` expressions, ``templates``.

    predictions: the strict ones, which are answers too. reworded: those to `rewordings`. pictures: of
    `Evaluation`. Nothing where rec_box was not asked.
    """
    answers: dict[str, list[str]] = {}
    for each in (*predictions, *reworded):
        answers.setdefault(each.instruction.instruction_id, []).append(each.answer)
    asked = _asked(predictions)
    if not asked:
        return
    best = [_best(answers[each.instruction_id], each, records[each.image_id], card) for each in asked]
    yield f"{NAME}/total", float(len(asked))
    yield f"{NAME}/templates", float(len(TASK.templates))
    images = Bootstrap([pictures[each.image_id] for each in asked], bootstrap, seed)
    yield from with_intervals(NAME, [mean_of("acc_0.5", [iou >= IOU_THRESHOLD for iou in best])], images)


def _best(answers: Sequence[str], asked: Instruction, record: ImageRecord, card: DatasetCard) -> float:
    """The IoU of the best of the answers to one expression; one that cannot be read has 0."""
    region = record.region(asked.region_id)
    return max(TASK.judge(answer, record, region, card)["iou"] for answer in answers)
