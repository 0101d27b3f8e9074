"""Answers to the instructions of many images, one batch of questions after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol

from vilam.data.instructions import Instruction
from vilam.data.records import ImageRecord
from vilam.inference.generate import Answer, Request, generate
from vilam.inference.model import Model
from vilam.launch import ALONE, Processes


class Records(Protocol):
    """Image records by id."""

    def __getitem__(self, image_id: str, /) -> ImageRecord:
        """The record of an image; raises KeyError if there is none."""
        ...


def answer_all(
    model: Model,
    records: Records,
    instructions: Sequence[Instruction],
    batch_size: int,
    advance: Callable[[int], None] = lambda _: None,
    processes: Processes = ALONE,
) -> list[Answer]:
    """One answer for each instruction, in their order; ``batch_size`` and ``advance`` count questions.

    Each process takes one batch after another, so a batch is the same for any number of processes; all get all answers.
    """
    batches = list(_batches(instructions, batch_size))
    answers: dict[int, Answer] = {}
    for start in range(0, len(batches), processes.size):
        parallel = batches[start : start + processes.size]
        for indices in parallel[processes.rank : processes.rank + 1]:
            chosen = [instructions[index] for index in indices]
            answers.update(zip(indices, _answer_batch(model, records, chosen), strict=True))
        advance(sum(map(len, parallel)))
    everything = dict(chain.from_iterable(part.items() for part in processes.all_gather(answers)))
    return [everything[index] for index in range(len(instructions))]


def _batches(instructions: Sequence[Instruction], size: int) -> Iterator[list[int]]:
    """Indices of batches of one task, whose answers have about one length; questions about an image are neighbours."""
    by_task: dict[str, list[int]] = {}
    order: Iterable[int] = range(len(instructions))
    for index in sorted(order, key=lambda i: (instructions[i].task, instructions[i].image_id)):
        by_task.setdefault(instructions[index].task, []).append(index)
    for indices in by_task.values():
        for start in range(0, len(indices), size):
            yield indices[start : start + size]


def _answer_batch(model: Model, records: Records, instructions: Sequence[Instruction]) -> list[Answer]:
    distinct = dict.fromkeys(instruction.image_id for instruction in instructions)
    numbers = {image_id: number for number, image_id in enumerate(distinct)}
    images = model.network.preprocess([records[image_id].image for image_id in numbers])
    requests = [Request(numbers[each.image_id], each.question, model.grammars[each.task]) for each in instructions]
    return generate(model, images, requests)
