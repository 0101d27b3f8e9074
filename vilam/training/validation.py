"""What is measured on held-out images while a model trains: the loss and how well it localises."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard
from vilam.inference.answering import Records, answer_all, compile_grammars
from vilam.models.tokenization import GroundingTokenizer
from vilam.models.vilam import VilamForConditionalGeneration
from vilam.tasks import TASKS
from vilam.training.batching import collate
from vilam.training.sampling import Example

BATCH = 64


@torch.no_grad()
def validate(
    model: VilamForConditionalGeneration,
    tokenizer: GroundingTokenizer,
    card: DatasetCard,
    records: Records,
    instructions: Sequence[Instruction],
) -> dict[str, float]:
    """``val_loss`` over all instructions and ``val_rec_acc`` (Acc@0.5) over those of rec_box, where there are any."""
    was_training = model.training
    model.eval()
    measured = {"val_loss": _loss(model, tokenizer, records, instructions)}
    asked = [instruction for instruction in instructions if instruction.task == "rec_box"]
    if asked:
        answers = answer_all(model, tokenizer, compile_grammars(tokenizer, card), records, asked, BATCH)
        hits = [_hit(each, answer.text, records, card) for each, answer in zip(asked, answers, strict=True)]
        measured["val_rec_acc"] = sum(hits) / len(hits)
    model.train(was_training)
    return measured


def _hit(instruction: Instruction, answer: str, records: Records, card: DatasetCard) -> bool:
    task, record = TASKS[instruction.task], records[instruction.image_id]
    region = record.region(instruction.region_id)
    reading = task.parse(answer, record.width, record.height)
    return reading is not None and task.score(reading, record, region, card)["iou"] >= 0.5


def _loss(
    model: VilamForConditionalGeneration,
    tokenizer: GroundingTokenizer,
    records: Records,
    instructions: Sequence[Instruction],
) -> float:
    total = weight = 0.0
    for start in range(0, len(instructions), BATCH):
        chunk = instructions[start : start + BATCH]
        images = [records[each.image_id].image for each in chunk]
        batch = collate(images, [[Example(each)] for each in chunk], tokenizer, model.config).to(model.device)
        output = model(
            pixel_values=batch.pixel_values, input_ids=batch.input_ids, segments=batch.segments, labels=batch.labels
        )
        count = float((batch.labels != -100).sum())
        total, weight = total + float(output.loss) * count, weight + count
    return total / max(weight, 1.0)
