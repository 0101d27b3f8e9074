"""Answers to instructions of many images."""

from __future__ import annotations

import toy

from vilam.inference.answering import answer_all, compile_grammars
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
