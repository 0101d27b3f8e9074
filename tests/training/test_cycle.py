"""Both legs of the cycle, with a generator that says what the test tells it to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import toy

from vilam.config import CycleSettings
from vilam.inference.answering import compile_grammars
from vilam.inference.generate import Answer, Request
from vilam.models.constraints import Walker
from vilam.tasks import TASKS
from vilam.training import cycle as module
from vilam.training.cycle import Cycle
from vilam.training.sampling import Example, by_image

BOX, WORDS = "[100, 200, 300, 400]", "the thing in question"


def settings(**changes: Any) -> CycleSettings:
    own = {"mode": "pseudo", "start": 0.5, "every": 3, "images": 2, "reg_then_rec": 0.25, "rec_then_reg": 0.75}
    return CycleSettings(**{**own, "temperature": 0.7, **changes})


def make(**changes: Any) -> Cycle:
    tokenizer = toy.tokenizer()
    return Cycle(settings(**changes), tokenizer, compile_grammars(tokenizer, toy.card()), toy.card(), seed=1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What the fake generator was asked; it answers REC with BOX and REG with WORDS."""
    seen: list[Request] = []

    def fake(
        _model: object, _tokenizer: object, _pixels: object, requests: Sequence[Request], *_: object
    ) -> list[Answer]:
        seen.extend(requests)
        return [Answer(WORDS if Walker(each.grammar, 1).in_words else BOX, (1,), 0.5) for each in requests]

    monkeypatch.setattr(module, "generate", fake)
    return seen


def run(cycle: Cycle, step: int = 6) -> tuple[list[str], list[list[Example]]]:
    instructions = by_image(toy.of_split("train"))
    ids = sorted(instructions)[:2]
    return ids, cycle.examples(toy.model(), toy.records(), instructions, ids, step)


def fits(text: str, templates: Sequence[str], slot: str, filling: str) -> bool:
    return text in {template.replace(slot, filling) for template in templates}


def test_both_legs_ask_what_the_other_said(asked):
    ids, examples = run(make())
    assert len(examples) == len(ids)
    for image_id, (back, forth) in zip(ids, examples, strict=False):
        record = toy.records()[image_id]
        # Region -> words -> region: asked for the generated words, answered by the true box.
        assert back.instruction.task == "rec_box" and back.weight == 0.25
        assert fits(back.instruction.question, TASKS["rec_box"].templates, "{expression}", WORDS)
        region = next(each for each in record.regions if each.region_id == back.instruction.region_id)
        assert back.instruction.answer == TASKS["rec_box"].answer(record, region, None)
        # Words -> box -> words: asked about the generated box, answered by the true words.
        assert forth.instruction.task == "reg_caption" and forth.weight == 0.75
        assert fits(forth.instruction.question, TASKS["reg_caption"].templates, "{region}", BOX)
        region = next(each for each in record.regions if each.region_id == forth.instruction.region_id)
        assert forth.instruction.answer in {expression.text for expression in region.expressions}
        assert {back.instruction.image_id, forth.instruction.image_id} == {image_id}


def test_the_first_questions_are_those_of_the_true_region_and_words(asked):
    ids, examples = run(make())
    for number, (image_id, (back, forth)) in enumerate(zip(ids, examples, strict=False)):
        record, own = toy.records()[image_id], [each for each in asked if each.image == number]
        assert len(own) == 2
        assert fits(own[0].question, TASKS["reg_caption"].templates, "{region}", back.instruction.answer)
        assert fits(own[1].question, TASKS["rec_box"].templates, "{expression}", forth.instruction.answer)
        assert record.image_id == image_id


@pytest.mark.parametrize(("leg", "task"), [("reg_then_rec", "rec_box"), ("rec_then_reg", "reg_caption")])
def test_a_leg_of_no_weight_is_left_out(asked, leg, task):
    weights = {"reg_then_rec": 0.0, "rec_then_reg": 0.0, leg: 1.0}
    _, examples = run(make(**weights))
    assert [[each.instruction.task for each in found] for found in examples] == [[task], [task]]


def test_a_middle_that_says_nothing_makes_no_example(monkeypatch):
    monkeypatch.setattr(module, "generate", lambda _m, _t, _p, requests, *_: [Answer(" ", (1,), 0.5) for _ in requests])
    _, examples = run(make())
    assert examples == [[], []]


def test_what_is_drawn_is_a_function_of_seed_and_step(asked):
    first = run(make())[1]
    assert run(make())[1] == first
    assert run(make(), step=9)[1] != first


def test_a_real_middle_is_free_of_coordinates():
    tokenizer = toy.tokenizer()
    _, examples = run(make(temperature=3.0))
    for found in examples:
        for example in found:
            if example.instruction.task == "rec_box":
                ids = tokenizer.encode(example.instruction.question)
                assert tokenizer.first_coordinate is not None and max(ids) < tokenizer.first_coordinate
                assert not set("[]\n") & set(example.instruction.question)


def test_a_process_without_images_asks_nothing():
    assert make().examples(toy.model(), toy.records(), {}, [], 6) == []


def test_the_cycle_begins_late_and_comes_now_and_then():
    due = [step for step in range(20) if make().due(step, 20)]
    assert due == [12, 15, 18]  # from half of the steps on, every third
    assert not any(make(mode="none").due(step, 20) for step in range(20))
    assert [step for step in range(6) if make(start=0.0, every=1).due(step, 6)] == list(range(6))
