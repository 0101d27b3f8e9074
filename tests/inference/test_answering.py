"""Answers to instructions of many images."""

from __future__ import annotations

import pytest
import toy

from vilam.inference import answering
from vilam.inference.answering import answer_all
from vilam.inference.generate import Answer
from vilam.launch import Processes
from vilam.tasks import TASKS


def test_answers_are_in_the_order_of_the_instructions():
    model = toy.with_grammars()
    asked = [each for each in toy.of_split("test") if each.task in TASKS][::5]
    counted: list[int] = []
    answers = answer_all(model, toy.records(), asked, 4, counted.append)
    assert sum(counted) == len(answers) == len(asked) and max(counted) <= 4
    for instruction, answer in zip(asked, answers, strict=True):
        alone = answer_all(model, toy.records(), [instruction], 1)[0]
        assert alone.text == answer.text
        assert TASKS[instruction.task].parse(answer.text, 48, 48) is not None


@pytest.mark.parametrize("size", [1, 2, 3])
def test_processes_divide_the_same_batches(monkeypatch, size):
    """A batch, and with it the last bit of every number, does not depend on the number of processes."""
    asked = [each for each in toy.of_split("test") if each.task in TASKS]
    batches: list[tuple[str, ...]] = []
    counted: list[int] = []

    def answer(*words: object) -> list[Answer]:
        *_, chunk = words
        batches.append(tuple(each.instruction_id for each in chunk))
        return [Answer(each.instruction_id, (), 1.0) for each in chunk]

    class Others(Processes):
        """A process that has received the answers of the others."""

        def all_gather(self, found: object) -> list[object]:
            return [{i: Answer(each.instruction_id, (), 1.0) for i, each in enumerate(asked)}, found]

    monkeypatch.setattr(answering, "_answer_batch", answer)
    for processes in [Processes(0, 1), *(Others(rank, size) for rank in range(size))]:
        answers = answer_all(toy.with_grammars(), {}, asked, 4, counted.append, processes)
        assert [each.text for each in answers] == [each.instruction_id for each in asked]
    alone, divided = batches[: len(batches) // 2], batches[len(batches) // 2 :]
    assert sorted(divided) == sorted(alone) and len(alone) > 3
    assert sum(counted) == len(asked) * (1 + size)
