"""Answers to instructions of many images, a batch of images at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Protocol

import torch

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, ImageRecord
from vilam.inference.generate import Answer, Request, generate
from vilam.launch import ALONE, Team
from vilam.models.constraints import GrammarCompiler, TokenGrammar
from vilam.models.family import GroundingModel, Tokens
from vilam.tasks import ALL_TASKS


class Records(Protocol):
    """Image records by id."""

    def __getitem__(self, image_id: str, /) -> ImageRecord:
        """The record of an image."""
        ...


def compile_grammars(tokenizer: Tokens, card: DatasetCard) -> dict[str, TokenGrammar]:
    """Each task's grammar on a data set, for a tokenizer."""
    compiler = GrammarCompiler(tokenizer)
    return {name: compiler.compile(task.grammar(card)) for name, task in ALL_TASKS.items()}


def answer_all(
    model: GroundingModel,
    tokenizer: Tokens,
    grammars: Mapping[str, TokenGrammar],
    records: Records,
    instructions: Sequence[Instruction],
    batch_size: int,
    advance: Callable[[int], None] = lambda _: None,
    processes: Team = ALONE,
) -> list[Answer]:
    """One answer for each instruction, in their order; ``batch_size`` counts questions, ``advance`` is told of each.

    Batches are dealt out to the processes in turn, so that each is the same for any number; all get all answers.
    """
    order = sorted(range(len(instructions)), key=lambda i: (instructions[i].task, instructions[i].image_id))
    batches = list(_batches(order, instructions, batch_size))
    answers: dict[int, Answer] = {}
    for start in range(0, len(batches), processes.size):
        dealt = batches[start : start + processes.size]
        for indices in dealt[processes.rank : processes.rank + 1]:
            chunk = [instructions[index] for index in indices]
            answers.update(zip(indices, _answer(model, tokenizer, grammars, records, chunk), strict=True))
        advance(sum(map(len, dealt)))
    shared = dict(chain.from_iterable(part.items() for part in processes.share(answers)))
    return [shared[index] for index in range(len(instructions))]


def _batches(order: Iterable[int], instructions: Sequence[Instruction], size: int) -> Iterator[list[int]]:
    """Batches of one task, so that all answers of a batch are of about one length."""
    by_task: dict[str, list[int]] = {}
    for index in order:
        by_task.setdefault(instructions[index].task, []).append(index)
    for indices in by_task.values():
        for start in range(0, len(indices), size):
            yield indices[start : start + size]


def _answer(
    model: GroundingModel,
    tokenizer: Tokens,
    grammars: Mapping[str, TokenGrammar],
    records: Records,
    instructions: Sequence[Instruction],
) -> list[Answer]:
    distinct = dict.fromkeys(instruction.image_id for instruction in instructions)
    images = {image_id: number for number, image_id in enumerate(distinct)}
    pixels = model.see([records[image_id].image for image_id in images])
    requests = [Request(images[each.image_id], each.question, grammars[each.task]) for each in instructions]
    return generate(model, tokenizer, pixels, requests)


def autocast(model: GroundingModel, dtype: torch.dtype) -> torch.autocast:
    """The context in which a model of float32 weights multiplies in ``dtype``."""
    return torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32)
