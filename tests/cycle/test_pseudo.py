"""Both directions of `pseudo` and `soft`, by a model whose answers the test writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scripted
import toy

from vilam.cycle.examples import Example, FirstLeg
from vilam.cycle.pseudo import PseudoLabeler, choose
from vilam.cycle.round_trip import REC_TASKS, Found, RoundTrip
from vilam.tasks import TASKS

REC, REG = TASKS["rec_box"], TASKS["reg_caption"]
WORDS = "the thing in question"
LETTERS = "ABCDEFGH"


def make(rec_tasks: dict[str, float] | None = None, **changes: Any) -> list[list[Example]]:
    labeler = PseudoLabeler(scripted.settings(**changes), rec_tasks or {"rec_box": 1.0}, seed=1)
    undescribed = changes.get("rec_then_reg", 0.0) == 0.0
    examples, _ = labeler.examples(toy.with_grammars(), scripted.sources(undescribed=undescribed), 0)
    return examples


def meant(request: Any) -> tuple[Any, Any]:
    """The record of a question, and the region that its expression means: "thing C", or a true one."""
    source = scripted.sources()[request.image]
    last = request.question.rstrip("?.").removesuffix(" in the image").split()[-1]
    if last in LETTERS:
        return source.record, source.record.regions[LETTERS.index(last)]
    asked = (each for task in REC_TASKS for each in source.described[task])
    return source.record, source.record.region(
        next(each.region_id for each in asked if each.question == request.question)
    )


def truth(request: Any) -> str:
    record, region = meant(request)
    return REC.answer(record, region, None)


def lettered(request: Any) -> str:
    """An expression that names the region of the question by a letter: a perfect description."""
    record = scripted.sources()[request.image].record
    return next(
        f"thing {letter}"
        for letter, region in zip(LETTERS, record.regions, strict=False)
        if REC.answer(record, region, None) in request.question
    )


def test_a_part_of_a_crowded_image_is_described_at_a_time(monkeypatch):
    scripted.script(monkeypatch, lettered, truth)
    monkeypatch.setattr("vilam.cycle.pseudo.MOST", 2)
    labeler = PseudoLabeler(scripted.settings(), {"rec_box": 1.0}, seed=1)
    source = max(scripted.sources(undescribed=True), key=lambda one: len(one.undescribed))
    assert len(source.undescribed) > 2
    parts = []
    for iteration in range(20):
        ((*examples,),), _ = labeler.examples(toy.with_grammars(), [source], iteration)
        parts.append({each.instruction.region_id for each in examples})
    assert {len(part) for part in parts} == {2}
    assert set.union(*parts) == {region.region_id for region in source.undescribed}


def test_reg_then_rec_asks_for_the_generated_expression_and_answers_the_region(monkeypatch):
    scripted.script(monkeypatch, lettered, truth)
    for source, examples in zip(scripted.sources(), make(reg_then_rec=0.25), strict=True):
        assert len(examples) == len(source.record.regions)
        for i, (region, example) in enumerate(zip(source.record.regions, examples, strict=True)):
            asked = example.instruction
            assert asked.task == "rec_box" and example.weight == 0.25 and asked.region_id == region.region_id
            assert asked.question in {template.format(expression=f"thing {LETTERS[i]}") for template in REC.templates}
            assert asked.answer == REC.answer(source.record, region, None)
            assert (
                (asked.expression_source, asked.template) == ("model", 0)
                and example.first is None
                and example.sampled is None
            )


def test_reg_then_rec_trains_the_true_region_of_an_expression_that_finds_another(monkeypatch):
    scripted.script(monkeypatch, lambda _: WORDS, lambda _: "[0, 0, 10, 10]")
    assert [len(own) for own in make()] == [len(source.record.regions) for source in scripted.sources()]


@pytest.mark.parametrize("leg", ["rec_then_reg", "self_training"])
def test_rec_then_reg_asks_about_the_box_that_was_found(monkeypatch, leg):
    def nearly(request: Any) -> str:
        x1, y1, x2, y2 = truth(request)[1:-1].split(", ")
        return f"[{x1}, {y1}, {float(x2) + 10}, {y2}]"

    scripted.script(monkeypatch, lettered, nearly)
    for source, examples in zip(scripted.sources(), make(**{"reg_then_rec": 0.0, leg: 0.75}), strict=True):
        assert len(examples) == (1 if leg == "rec_then_reg" else len(source.record.regions))
        for example in examples:
            asked, region = example.instruction, source.record.region(example.instruction.region_id)
            assert asked.task == "reg_caption" and example.weight == 0.75
            assert REC.answer(source.record, region, None) not in asked.question  # the box that was found
            true = {expression.text for expression in region.expressions}
            assert asked.answer in true if leg == "rec_then_reg" else asked.answer.startswith("thing ")


@pytest.mark.parametrize("leg", ["rec_then_reg", "self_training"])
def test_rec_then_reg_has_no_example_of_a_box_of_the_wrong_region(monkeypatch, leg):
    def wrong(request: Any) -> str:
        record, region = meant(request)
        return REC.answer(record, next(each for each in record.regions if each is not region), None)

    scripted.script(monkeypatch, lettered, wrong)
    assert make(**{"reg_then_rec": 0.0, leg: 1.0}) == [[], []]


def test_a_box_that_fits_two_regions_gives_no_example_and_no_reward(monkeypatch):
    """With all boxes equal, every answer fits every region."""
    same_boxes = []
    for source in scripted.sources(undescribed=True):
        first = source.record.regions[0]
        regions = tuple(
            type(first)(region.region_id, first.box_xyxy, region.category, expressions=region.expressions)
            for region in source.record.regions
        )
        same_boxes.append(type(source)(replace(source.record, regions=regions), source.described))
    scripted.script(
        monkeypatch, lambda _: WORDS, lambda each: scripted.box_of(same_boxes[each.image].record.regions[0])
    )
    own = scripted.settings(reg_then_rec=1.0, rec_then_reg=1.0, self_training=1.0)
    examples, round_trips = PseudoLabeler(own, {"rec_box": 1.0}, 1).examples(toy.with_grammars(), same_boxes, 0)
    assert examples == [[], []] and all(each.found.iou > 0.9 and each.reward(0.5) == 0 for each in round_trips)


def test_expressions_that_were_cut_off_give_no_example(monkeypatch):
    scripted.script(monkeypatch, lambda _: WORDS, truth)
    asked = scripted.script(monkeypatch, lambda _: WORDS, lambda _: "[0, 0, 10, 10]")
    length = len(toy.tokenizer().encode_answer(WORDS))
    assert make(max_tokens=length - 1, self_training=1.0) == [[], []]
    assert not [each for each in asked if WORDS in each.question]  # and no question is asked
    assert make(max_tokens=length) != [[], []]
    # A shorter form of them gives no example either, although it would find a region.
    named = f"the {scripted.sources()[0].record.regions[0].category} on the far left side"
    scripted.script(monkeypatch, lambda _: named, lambda _: "[0, 0, 10, 10]")
    length = len(toy.tokenizer().encode_answer(named))
    assert make(max_tokens=length - 1) == [[], []]
    assert make(max_tokens=length) != [[], []]


def test_every_rec_task_may_answer_an_expression(monkeypatch):
    """The answer is the true one of the region, as a mask or keypoints if the task needs them."""
    scripted.script(monkeypatch, lettered, truth)
    tasks = {"rec_box": 1.0, "rec_mask": 1.0, "rec_keypoints": 1.0}
    made = [(source, example) for source, own in zip(scripted.sources(), make(tasks), strict=True) for example in own]
    assert {example.instruction.task for _, example in made} == set(tasks)
    for source, example in made:
        task = TASKS[example.instruction.task]
        region = source.record.region(example.instruction.region_id)
        assert example.instruction.answer == task.answer(source.record, region, None)


@pytest.mark.parametrize("task", ["rec_mask", "rec_keypoints"])
def test_rec_then_reg_works_with_masks_and_keypoints(monkeypatch, task):
    """y -> mask -> box around it -> y."""

    def true(request: Any) -> str:
        record, region = meant(request)
        return TASKS[task].answer(record, region, None)

    scripted.script(monkeypatch, lettered, true)
    examples = make({task: 1.0}, reg_then_rec=0.0, rec_then_reg=1.0)
    for source, (example,) in zip(scripted.sources(), examples, strict=True):
        region = source.record.region(example.instruction.region_id)
        assert example.instruction.task == "reg_caption"
        assert example.instruction.answer in {expression.text for expression in region.expressions}


def test_soft_examples_have_their_first_leg(monkeypatch):
    asked = scripted.script(monkeypatch, lettered, truth)
    examples = make(mode="soft", self_training=1.0)
    questions = {each.question for each in asked}
    for example in (example for own in examples for example in own):
        assert isinstance(example.first, FirstLeg) and example.first.question in questions
        assert example.first.answer in example.instruction.question


def test_examples_depend_on_the_seed_and_the_iteration_alone(monkeypatch):
    scripted.script(monkeypatch, lettered, truth)
    labeler = PseudoLabeler(scripted.settings(), {"rec_box": 1.0}, seed=1)
    sources = scripted.sources(undescribed=True)
    first = labeler.examples(toy.with_grammars(), sources, 0)
    assert labeler.examples(toy.with_grammars(), sources, 0) == first
    assert labeler.examples(toy.with_grammars(), sources, 1) != first
    alone = [labeler.examples(toy.with_grammars(), [source], 0)[0][0] for source in sources[:1]]
    assert alone == first[0][:1]  # independent of the rest of the batch


def test_choose_takes_a_random_round_trip_that_returns():
    good = [RoundTrip("", name, (1,), confidence, Found(iou=0.9)) for name, confidence in (("a", 0.1), ("b", 0.9))]
    bad = [
        RoundTrip("", "c", (1,), 0.99, Found(iou=0.2)),
        RoundTrip("", "d", (1,), 0.99, Found(iou=0.9, other_iou=0.8)),
    ]
    rng = np.random.default_rng(0)
    assert {choose([*bad, *good], 0.5, rng).words for _ in range(30)} == {"a", "b"}
    assert {choose(bad, 0.5, rng).words for _ in range(30)} == {"c", "d"}
    lost = RoundTrip("", "e", (1,), 0.1, Found(box_xyxy=(0, 0, 1, 1), iou=0.2))
    assert {choose([*bad, lost], 0.5, rng).words for _ in range(30)} == {"e"}


def test_self_training_takes_the_returning_expression_on_which_most_samples_agree(monkeypatch):
    """The word "red" of a single sample is left out. F is asked for a random one of all expressions that return."""

    def expression(request: Any) -> str:
        index = LETTERS.index(lettered(request)[-1])
        look = looks.setdefault((request.image, index), iter(("red ", "", "blue ")))
        category = scripted.sources()[request.image].record.regions[index].category
        return f"the {next(look)}{category} {LETTERS[index]}"

    def box(request: Any) -> str:
        is_lettered = any(f" {letter} " in f"{request.question.rstrip('?.')} " for letter in LETTERS)
        return truth(request) if is_lettered and "blue" not in request.question else "[0, 0, 10, 10]"

    looks: dict[tuple[int, int], Any] = {}
    scripted.script(monkeypatch, expression, box)
    met = set()
    for source, own in zip(scripted.sources(), make(self_training=1.0, samples=3), strict=True):
        for letter, region in zip(LETTERS, source.record.regions, strict=False):
            asked, learnt = (e.instruction for e in own if e.instruction.region_id == region.region_id)
            assert learnt.answer == f"the {region.category} {letter}" and learnt.task == "reg_caption"
            forms = {"red": f"the red {region.category} {letter}", "": learnt.answer}
            met.add(next(look for look, form in forms.items() if form in asked.question))
    assert met == {"red", ""}


def test_regions_with_true_expressions_get_no_generated_ones(monkeypatch):
    scripted.script(monkeypatch, lettered, truth)
    source = scripted.sources(1)[0]
    has_words = source.record.regions[0].region_id
    described = {name: [each for each in own if each.region_id == has_words] for name, own in source.described.items()}
    labeler = PseudoLabeler(scripted.settings(self_training=1.0), {"rec_box": 1.0}, seed=1)
    for described_by_task, expected in (
        (described, source.record.regions[1:]),
        (source.described, ()),
        ({}, source.record.regions),
    ):
        ((examples,), round_trips) = labeler.examples(
            toy.with_grammars(), [type(source)(source.record, described_by_task)], 0
        )
        assert {each.instruction.region_id for each in examples} == {region.region_id for region in expected}
        assert len(round_trips) == len(expected)
