"""What is measured on held-out images while a model trains: the loss and how well it localises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard
from vilam.evaluation.diversity import diversity
from vilam.inference.answering import Records, answer_all, compile_grammars
from vilam.models.family import GroundingModel, Tokens
from vilam.models.losses import IGNORED
from vilam.tasks import TASKS
from vilam.training.batching import collate
from vilam.training.sampling import Example

BATCH = 64
COLLAPSE = 0.5
"""What is left of the diversity when the alarm sounds."""


@torch.no_grad()
def validate(
    model: GroundingModel,
    tokenizer: Tokens,
    card: DatasetCard,
    records: Records,
    instructions: Sequence[Instruction],
) -> dict[str, float]:
    """``val_loss`` over all instructions, and of those of a task, where there are any:

    val_rec_acc: Acc@0.5 of rec_box. val_distinct_1, val_distinct_2, val_num_words, val_entropy: whether the expressions
    of reg_caption still differ (see `diversity`).
    """
    was_training = model.training
    model.eval()
    measured = {"val_loss": _loss(model, tokenizer, records, instructions)}
    grammars = compile_grammars(tokenizer, card)
    asked = [instruction for instruction in instructions if instruction.task in ("rec_box", "reg_caption")]
    answers = [answer.text for answer in answer_all(model, tokenizer, grammars, records, asked, BATCH)]
    pairs = list(zip(asked, answers, strict=True))
    hits = [_hit(each, answer, records, card) for each, answer in pairs if each.task == "rec_box"]
    if hits:
        measured["val_rec_acc"] = sum(hits) / len(hits)
    said = diversity([answer for each, answer in pairs if each.task == "reg_caption"])
    model.train(was_training)
    return measured | {f"val_{name}": value for name, value in said.items()}


def collapsed(measured: Mapping[str, float], before: Mapping[str, float]) -> str | None:
    """The alarm, in words, where the model says far less than it did ``before``; None where all is well."""
    for name in ("val_distinct_2", "val_entropy"):
        if name in before and measured.get(name, 1.0) < COLLAPSE * before[name]:
            return (
                f"{name} fell from {before[name]:.2f} to {measured[name]:.2f}: the expressions become one another; "
                "lower train.cycle.retell or raise train.cycle.kl"
            )
    return None


def _hit(instruction: Instruction, answer: str, records: Records, card: DatasetCard) -> bool:
    task, record = TASKS[instruction.task], records[instruction.image_id]
    region = record.region(instruction.region_id)
    reading = task.parse(answer, record.width, record.height)
    return reading is not None and task.score(reading, record, region, card)["iou"] >= 0.5


def _loss(
    model: GroundingModel,
    tokenizer: Tokens,
    records: Records,
    instructions: Sequence[Instruction],
) -> float:
    total = weight = 0.0
    for start in range(0, len(instructions), BATCH):
        chunk = instructions[start : start + BATCH]
        images = [records[each.image_id].image for each in chunk]
        batch = collate(images, [[Example(each)] for each in chunk], tokenizer, model).to(model.device)
        output = model(**batch.inputs, labels=batch.labels)
        count = float((batch.labels != IGNORED).sum())
        total, weight = total + float(output.loss) * count, weight + count
    return total / max(weight, 1.0)
