"""Finds the questions of data sets that a model cannot read whole, with their image and answer."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from vilam.data.instructions import Instruction
from vilam.data.records import ImageRecord
from vilam.inference.answering import Records
from vilam.inference.lengths import is_short, limits_of, overflow
from vilam.inference.model import Model
from vilam.launch import rank
from vilam.models.interface import Turn

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unread:
    """Instructions that are longer than a model reads: how many, an image of them, their tokens and the model's."""

    count: int
    image_id: str
    tokens: int
    limit: int


def readable(
    model: Model, records: Records, instructions: Iterable[Instruction]
) -> tuple[list[Instruction], Unread | None]:
    """The instructions whose question and answer, with the image, the model reads whole, and what the others are."""
    limits = limits_of(model)
    kept: list[Instruction] = []
    unread: list[tuple[Instruction, tuple[int, int]]] = []
    for each in instructions:
        size = len(each.question.encode()) + len(each.answer.encode())
        found = None if is_short(limits, size) else _overflow(model, records[each.image_id], each)
        if found is None:
            kept.append(each)
        else:
            unread.append((each, found))
    if not unread:
        return kept, None
    first, (tokens, most) = unread[0]
    return kept, Unread(len(unread), first.image_id, tokens, most)


def _overflow(model: Model, record: ImageRecord, instruction: Instruction) -> tuple[int, int] | None:
    network = model.network
    images = network.preprocess([record.image])
    answer = model.tokenizer.encode_answer(instruction.answer, network.frames(images)[0])
    return overflow(model, images, Turn(instruction.question, tuple(answer)))


def without_unread(
    model: Model, records: Records, instructions: Iterable[Instruction], stage: str
) -> list[Instruction]:
    """The instructions that the model reads whole; the others are named, counted and left out."""
    kept, unread = readable(model, records, instructions)
    warn(unread, stage, "left out")
    return kept


def warn(unread: Unread | None, where: str, consequence: str) -> None:
    """Say once for all processes what happens to the questions that the model cannot read, if there are any."""
    if unread is not None and rank() == 0:
        example = f"one about image {unread.image_id} ({unread.tokens} tokens, the model reads {unread.limit})"
        logger.warning(
            "%s: questions too long with image and answer: %d, such as %s: %s",
            where,
            unread.count,
            example,
            consequence,
        )
