"""Both legs of `pseudo` and `soft`, by a model that says what the test tells it to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scripted
import toy

from vilam.inference.round_trip import FINDERS, Found, Trip
from vilam.tasks import TASKS
from vilam.training.middles import Middles, choose
from vilam.training.sampling import Example, FirstLeg

REC, REG = TASKS["rec_box"], TASKS["reg_caption"]
WORDS = "the thing in question"
LETTERS = "ABCDEFGH"


def make(rec_tasks: dict[str, float] | None = None, **changes: Any) -> list[list[Example]]:
    middles = Middles(scripted.settings(**changes), rec_tasks or {"rec_box": 1.0}, scripted.traveller(), seed=1)
    wordless = changes.get("rec_then_reg", 0.0) == 0.0
    examples, _ = middles.examples(toy.model(), scripted.sources(wordless=wordless), 0)
    return examples


def meant(request: Any) -> tuple[Any, Any]:
    """The record asked about and the region that the words of a question mean: "thing C", or true words."""
    source = scripted.sources()[request.image]
    last = request.question.rstrip("?.").removesuffix(" in the image").split()[-1]
    if last in LETTERS:
        return source.record, source.record.regions[LETTERS.index(last)]
    asked = (each for task in FINDERS for each in source.described[task.name])
    return source.record, source.record.region(
        next(each.region_id for each in asked if each.question == request.question)
    )


def told_the_truth(request: Any) -> str:
    record, region = meant(request)
    return REC.answer(record, region, None)


def lettered(request: Any) -> str:
    """Words that tell the region asked about by a letter: a perfect speaker."""
    record = scripted.sources()[request.image].record
    return next(
        f"thing {letter}"
        for letter, region in zip(LETTERS, record.regions, strict=False)
        if REC.answer(record, region, None) in request.question
    )


def test_reg_then_rec_asks_for_the_generated_words_and_answers_the_region(monkeypatch):
    scripted.script(monkeypatch, lettered, told_the_truth)
    for source, examples in zip(scripted.sources(), make(reg_then_rec=0.25), strict=True):
        assert len(examples) == len(source.record.regions)
        for i, (region, example) in enumerate(zip(source.record.regions, examples, strict=True)):
            asked = example.instruction
            assert asked.task == "rec_box" and example.weight == 0.25 and asked.region_id == region.region_id
            assert asked.question in {template.format(expression=f"thing {LETTERS[i]}") for template in REC.templates}
            assert asked.answer == REC.answer(source.record, region, None)
            assert asked.expression_source == "model" and example.first is None and example.sampled is None


def test_words_that_lead_elsewhere_still_teach_where_they_should_lead(monkeypatch):
    scripted.script(monkeypatch, lambda _: WORDS, lambda _: "[0, 0, 10, 10]")
    assert [len(own) for own in make()] == [len(source.record.regions) for source in scripted.sources()]


@pytest.mark.parametrize("leg", ["rec_then_reg", "retell"])
def test_the_other_way_asks_about_the_box_that_was_found(monkeypatch, leg):
    def nearly(request: Any) -> str:
        x1, y1, x2, y2 = told_the_truth(request)[1:-1].split(", ")
        return f"[{x1}, {y1}, {int(x2) + 10}, {y2}]"

    scripted.script(monkeypatch, lettered, nearly)
    for source, examples in zip(scripted.sources(), make(**{"reg_then_rec": 0.0, leg: 0.75}), strict=True):
        assert len(examples) == (1 if leg == "rec_then_reg" else len(source.record.regions))
        for example in examples:
            asked, region = example.instruction, source.record.region(example.instruction.region_id)
            assert asked.task == "reg_caption" and example.weight == 0.75
            assert REC.answer(source.record, region, None) not in asked.question  # the box that was found
            true = {expression.text for expression in region.expressions}
            assert asked.answer in true if leg == "rec_then_reg" else asked.answer.startswith("thing ")


@pytest.mark.parametrize("leg", ["rec_then_reg", "retell"])
def test_a_box_of_the_wrong_region_teaches_no_words(monkeypatch, leg):
    def wrong(request: Any) -> str:
        record, region = meant(request)
        return REC.answer(record, next(each for each in record.regions if each is not region), None)

    scripted.script(monkeypatch, lettered, wrong)
    assert make(**{"reg_then_rec": 0.0, leg: 1.0}) == [[], []]


def test_a_box_of_two_regions_earns_nothing(monkeypatch):
    """Guard: with all boxes alike, every answer fits every region."""
    twins = []
    for source in scripted.sources(wordless=True):
        first = source.record.regions[0]
        regions = tuple(
            type(first)(region.region_id, first.box_xyxy, region.category, expressions=region.expressions)
            for region in source.record.regions
        )
        twins.append(type(source)(replace(source.record, regions=regions), source.described))
    scripted.script(monkeypatch, lambda _: WORDS, lambda each: scripted.box_of(twins[each.image].record.regions[0]))
    own = scripted.settings(reg_then_rec=1.0, rec_then_reg=1.0, retell=1.0)
    examples, trips = Middles(own, {"rec_box": 1.0}, scripted.traveller(), 1).examples(toy.model(), twins, 0)
    assert examples == [[], []] and all(trip.found.iou > 0.9 and trip.reward(0.5) == 0 for trip in trips)


def test_words_that_are_cut_off_earn_nothing(monkeypatch):
    scripted.script(monkeypatch, lambda _: WORDS, told_the_truth)
    asked = scripted.script(monkeypatch, lambda _: WORDS, lambda _: "[0, 0, 10, 10]")
    length = len(toy.tokenizer().encode_answer(WORDS))
    assert make(max_words=length - 1, retell=1.0) == [[], []]
    assert not [each for each in asked if WORDS in each.question]  # nor does it cost a question
    assert make(max_words=length) != [[], []]
    # Nor is a shorter form of them, though it would lead somewhere.
    named = f"the {scripted.sources()[0].record.regions[0].category} on the far left side"
    scripted.script(monkeypatch, lambda _: named, lambda _: "[0, 0, 10, 10]")
    length = len(toy.tokenizer().encode_answer(named))
    assert make(max_words=length - 1) == [[], []]
    assert make(max_words=length) != [[], []]


def test_words_may_be_asked_for_by_every_rec_task(monkeypatch):
    """The cycle through outlines and keypoints: the answer is the region's own, in the task's form."""
    scripted.script(monkeypatch, lettered, told_the_truth)
    tasks = {"rec_box": 1.0, "rec_mask": 1.0, "rec_keypoints": 1.0}
    made = [(source, example) for source, own in zip(scripted.sources(), make(tasks), strict=True) for example in own]
    assert {example.instruction.task for _, example in made} == set(tasks)
    for source, example in made:
        task = TASKS[example.instruction.task]
        region = source.record.region(example.instruction.region_id)
        assert example.instruction.answer == task.answer(source.record, region, None)


@pytest.mark.parametrize("task", ["rec_mask", "rec_keypoints"])
def test_an_outline_or_keypoints_lead_back_to_words(monkeypatch, task):
    """y -> outline -> box around it -> y."""

    def true(request: Any) -> str:
        record, region = meant(request)
        return TASKS[task].answer(record, region, None)

    scripted.script(monkeypatch, lettered, true)
    examples = make({task: 1.0}, reg_then_rec=0.0, rec_then_reg=1.0)
    for source, (example,) in zip(scripted.sources(), examples, strict=True):
        region = source.record.region(example.instruction.region_id)
        assert example.instruction.task == "reg_caption"
        assert example.instruction.answer in {expression.text for expression in region.expressions}


def test_soft_carries_the_first_leg(monkeypatch):
    asked = scripted.script(monkeypatch, lettered, told_the_truth)
    examples = make(mode="soft", retell=1.0)
    questions = {each.question for each in asked}
    for example in (example for own in examples for example in own):
        assert isinstance(example.first, FirstLeg) and example.first.question in questions
        assert example.first.answer in example.instruction.question


def test_what_is_made_is_a_function_of_seed_and_turn(monkeypatch):
    scripted.script(monkeypatch, lettered, told_the_truth)
    middles = Middles(scripted.settings(), {"rec_box": 1.0}, scripted.traveller(), seed=1)
    sources = scripted.sources(wordless=True)
    first = middles.examples(toy.model(), sources, 0)
    assert middles.examples(toy.model(), sources, 0) == first
    assert middles.examples(toy.model(), sources, 1) != first
    alone = [middles.examples(toy.model(), [source], 0)[0][0] for source in sources[:1]]
    assert alone == first[0][:1]  # whatever else is in the batch


def test_of_several_trips_one_that_returns_is_chosen_by_chance():
    good = [Trip("", name, (1,), confidence, Found(iou=0.9)) for name, confidence in (("a", 0.1), ("b", 0.9))]
    bad = [Trip("", "c", (1,), 0.99, Found(iou=0.2)), Trip("", "d", (1,), 0.99, Found(iou=0.9, other_iou=0.8))]
    rng = np.random.default_rng(0)
    assert {choose([*bad, *good], 0.5, rng).words for _ in range(30)} == {"a", "b"}
    assert {choose(bad, 0.5, rng).words for _ in range(30)} == {"c", "d"}
    lost = Trip("", "e", (1,), 0.1, Found(box_xyxy=(0, 0, 1, 1), iou=0.2))
    assert {choose([*bad, lost], 0.5, rng).words for _ in range(30)} == {"e"}


def test_told_again_is_what_returns_and_most_samples_agree_on(monkeypatch):
    """Here "red", said once, is left out; F is asked for one of all that return, by chance."""

    def said(request: Any) -> str:
        index = LETTERS.index(lettered(request)[-1])
        look = looks.setdefault((request.image, index), iter(("red ", "", "blue ")))
        category = scripted.sources()[request.image].record.regions[index].category
        return f"the {next(look)}{category} {LETTERS[index]}"

    def found(request: Any) -> str:
        told = any(f" {letter} " in f"{request.question.rstrip('?.')} " for letter in LETTERS)
        return told_the_truth(request) if told and "blue" not in request.question else "[0, 0, 10, 10]"

    looks: dict[tuple[int, int], Any] = {}
    scripted.script(monkeypatch, said, found)
    met = set()
    for source, own in zip(scripted.sources(), make(retell=1.0, samples=3), strict=True):
        for letter, region in zip(LETTERS, source.record.regions, strict=False):
            asked, told = (e.instruction for e in own if e.instruction.region_id == region.region_id)
            assert told.answer == f"the {region.category} {letter}" and told.task == "reg_caption"
            forms = {"red": f"the red {region.category} {letter}", "": told.answer}
            met.add(next(look for look, form in forms.items() if form in asked.question))
    assert met == {"red", ""}


def test_regions_with_words_need_none_of_the_model(monkeypatch):
    scripted.script(monkeypatch, lettered, told_the_truth)
    source = scripted.sources(1)[0]
    worded = source.record.regions[0].region_id
    described = {name: [each for each in own if each.region_id == worded] for name, own in source.described.items()}
    middles = Middles(scripted.settings(retell=1.0), {"rec_box": 1.0}, scripted.traveller(), seed=1)
    for given, expected in (
        (described, source.record.regions[1:]),
        (source.described, ()),
        ({}, source.record.regions),
    ):
        ((examples,), trips) = middles.examples(toy.model(), [type(source)(source.record, given)], 0)
        assert {each.instruction.region_id for each in examples} == {region.region_id for region in expected}
        assert len(trips) == len(expected)
