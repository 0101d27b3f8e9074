"""Validation during training: the loss, the accuracy of boxes, the diversity of expressions and the collapse alarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from vilam.cycle.examples import Example
from vilam.data.instructions import Instruction
from vilam.evaluation.captions import diversity
from vilam.evaluation.predictions import box_iou_of
from vilam.evaluation.task_metrics import IOU_THRESHOLD
from vilam.inference.answering import Records, answer_all
from vilam.inference.model import Model
from vilam.models.losses import IGNORED
from vilam.training.batching import collate

BATCH = 64
COLLAPSE = 0.5
"""The fraction of the earlier diversity below which the alarm is printed."""


@torch.no_grad()
def validate(model: Model, records: Records, instructions: Sequence[Instruction]) -> dict[str, float]:
    """``val_loss`` over all instructions, and of the tasks that are among them:

    val_rec_acc: Acc@0.5 of rec_box. val_distinct_1, val_distinct_2, val_num_words, val_entropy: whether the expressions
    of reg_caption still differ (see `diversity`).
    """
    was_training = model.network.training
    model.network.eval()
    measured = {"val_loss": _loss(model, records, instructions)}
    chosen = [instruction for instruction in instructions if instruction.task in ("rec_box", "reg_caption")]
    answers = [answer.text for answer in answer_all(model, records, chosen, BATCH)]
    pairs = list(zip(chosen, answers, strict=True))
    ious = [box_iou_of(answer, each, records, model.card) for each, answer in pairs if each.task == "rec_box"]
    if ious:
        measured["val_rec_acc"] = sum(iou >= IOU_THRESHOLD for iou in ious) / len(ious)
    of_expressions = diversity([answer for each, answer in pairs if each.task == "reg_caption"])
    model.network.train(was_training)
    return measured | {f"val_{name}": value for name, value in of_expressions.items()}


def collapsed(measured: Mapping[str, float], before: Mapping[str, float]) -> str | None:
    """The alarm as a message if the expressions differ far less than ``before``; None if there is no collapse."""
    for name in ("val_distinct_2", "val_entropy"):
        if name in before and measured.get(name, 1.0) < COLLAPSE * before[name]:
            return (
                f"{name} fell from {before[name]:.2f} to {measured[name]:.2f}: the expressions become alike; "
                "lower train.cycle.self_training or raise train.cycle.kl"
            )
    return None


def _loss(model: Model, records: Records, instructions: Sequence[Instruction]) -> float:
    total = weight = 0.0
    for start in range(0, len(instructions), BATCH):
        chunk = instructions[start : start + BATCH]
        images = [records[each.image_id].image for each in chunk]
        batch = collate(model, images, [[Example(each)] for each in chunk]).to(model.network.device)
        output = model.network(**batch.inputs, labels=batch.labels)
        count = float((batch.labels != IGNORED).sum())
        total, weight = total + float(output.loss) * count, weight + count
    return total / max(weight, 1.0)
