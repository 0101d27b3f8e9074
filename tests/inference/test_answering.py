"""Answers to instructions of many images."""

from __future__ import annotations

import pytest
import toy

from vilam.inference import answering
from vilam.inference.answering import answer_all, compile_grammars
from vilam.inference.generate import Answer
from vilam.launch import Team
from vilam.tasks import TASKS


def test_answers_stand_in_the_order_of_the_instructions():
    model, tokenizer = toy.model(), toy.tokenizer()
    compiled = compile_grammars(tokenizer, toy.card())
    asked = [each for each in toy.of_split("test") if each.task in TASKS][::5]
    told: list[int] = []
    answers = answer_all(model, tokenizer, compiled, toy.records(), asked, 4, told.append)
    assert sum(told) == len(answers) == len(asked) and max(told) <= 4
    for instruction, answer in zip(asked, answers, strict=True):
        alone = answer_all(model, tokenizer, compiled, toy.records(), [instruction], 1)[0]
        assert alone.text == answer.text
        assert TASKS[instruction.task].parse(answer.text, 48, 48) is not None


@pytest.mark.parametrize("size", [1, 2, 3])
def test_processes_share_the_batches_that_one_alone_would_make(monkeypatch, size):
    """So that what is in a batch, and with it the last bit of every number, does not depend on their number."""
    asked = [each for each in toy.of_split("test") if each.task in TASKS]
    batches: list[tuple[str, ...]] = []
    told: list[int] = []

    def answer(*words: object) -> list[Answer]:
        *_, chunk = words
        batches.append(tuple(each.instruction_id for each in chunk))
        return [Answer(each.instruction_id, (), 1.0) for each in chunk]

    class Others(Team):
        """A process that the others have given their answers."""

        def share(self, found: object) -> list[object]:
            return [{i: Answer(each.instruction_id, (), 1.0) for i, each in enumerate(asked)}, found]

    monkeypatch.setattr(answering, "_answer", answer)
    for team in [Team(0, 1), *(Others(rank, size) for rank in range(size))]:
        answers = answer_all(toy.model(), toy.tokenizer(), {}, {}, asked, 4, told.append, team)
        assert [each.text for each in answers] == [each.instruction_id for each in asked]
    alone, shares = batches[: len(batches) // 2], batches[len(batches) // 2 :]
    assert sorted(shares) == sorted(alone) and len(alone) > 3
    assert sum(told) == len(asked) * (1 + size)
