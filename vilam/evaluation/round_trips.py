"""Round trips region -> generated expression -> region: whether a model finds a region from its own expression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from vilam.data.instructions import Instruction
from vilam.data.records import Expression
from vilam.evaluation.estimates import Bootstrap, Estimate, Metric, mean_of
from vilam.evaluation.predictions import Prediction
from vilam.evaluation.task_metrics import IOU_THRESHOLD
from vilam.inference.answering import Records
from vilam.tasks import TASKS

NAME = "cycle"
"""The prefix of these metrics, which have no task."""


def round_trip_questions(predictions: Sequence[Prediction], records: Records) -> list[Instruction]:
    """Questions of rec_box about the generated expressions, each with the id of its reg_caption instruction."""
    task = TASKS["rec_box"]
    questions: list[Instruction] = []
    for prediction in predictions:
        instruction, expression = prediction.instruction, prediction.answer.strip()
        if instruction.task == "reg_caption" and expression:
            record = records[instruction.image_id]
            region = record.region(instruction.region_id)
            question = task.question(0, record, region, Expression(expression, source="model"))
            questions.append(replace(instruction, task=task.name, question=question, expression=expression))
    return questions


def round_trip_metrics(rows: pd.DataFrame, resamples: int, seed: int) -> Iterator[Metric]:
    """``round_trip_iou`` and ``round_trip_acc_0.5`` with intervals, and ``total``; nothing without round trips."""
    found = rows_with_round_trip(rows)
    if len(found):
        yield from Bootstrap(found["content_id"], resamples, seed).metrics(NAME, round_trip_estimates(found))
        yield f"{NAME}/total", float(len(found))


def rows_with_round_trip(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of reg_caption with a round trip; the others have NaN in ``round_trip_iou``."""
    return rows[rows["round_trip_iou"].notna()] if "round_trip_iou" in rows else rows[:0]


def round_trip_estimates(rows: pd.DataFrame) -> Iterator[Estimate]:
    """The metrics of `rows_with_round_trip`."""
    yield mean_of("round_trip_iou", rows["round_trip_iou"])
    yield mean_of("round_trip_acc_0.5", rows["round_trip_iou"] >= IOU_THRESHOLD)
