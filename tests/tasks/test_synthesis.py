"""Rendering: a hash chooses expressions and templates."""

from collections import Counter
from dataclasses import replace

from vilam.data.records import Expression, Provenance
from vilam.tasks import ACTIVATION, TASKS
from vilam.tasks.synthesis import render

EVERY = [*TASKS.values(), ACTIVATION]


def test_choices_depend_on_the_seed_and_not_on_the_order(record, square, card):
    other = replace(square, region_id="8")
    forward = set(render(replace(record, regions=(square, other)), card, EVERY, 3, seed=1))
    backward = set(render(replace(record, regions=(other, square)), card, EVERY[::-1], 3, seed=1))
    assert forward == backward
    assert {one.template for one in forward} != {one.template for one in render(record, card, EVERY, 3, seed=2)}


def test_all_templates_are_about_equally_frequent(record, square, card):
    regions = tuple(replace(square, region_id=str(number)) for number in range(600))
    found = list(render(replace(record, regions=regions), card, EVERY, 1, seed=0))
    for task in EVERY:
        counts = Counter(one.template for one in found if one.task == task.name)
        expected = 600 / len(task.templates)
        assert set(counts) == set(range(len(task.templates)))
        assert all(0.5 * expected < count < 1.6 * expected for count in counts.values())


def test_the_number_of_expressions_is_limited_and_ids_keep_their_index(record, square, card):
    expressions = tuple(Expression(f"square {number}") for number in range(8))
    many = replace(record, regions=(replace(square, expressions=expressions),))
    found = list(render(many, card, [TASKS["rec_box"], TASKS["reg_caption"]], 3, seed=0))
    asked = {one.expression for one in found if one.task == "rec_box"}
    assert len(asked) == 3 and asked == {one.expression for one in found if one.task == "reg_caption"}
    for one in found:
        assert expressions[int(one.instruction_id.rsplit("/", 1)[1])].text == one.expression


def test_a_region_without_expressions_has_instructions_of_its_category(record, square, card):
    bare = replace(record, regions=(replace(square, expressions=()),))
    found = {one.task: one for one in render(bare, card, EVERY, 3, seed=0)}
    assert set(found) == {"reg_class", "activation"}
    assert "a square" in found["activation"].answer and found["activation"].expression_source == ""


def test_instructions_hold_the_provenance_of_generated_expressions(record, square, card):
    generated = Expression("the square", "free", "model", Provenance("models:/vilam/3", 0.5, 0.75))
    human = Expression("the other square")
    both = replace(record, regions=(replace(square, expressions=(generated, human)),))
    for one in render(both, card, EVERY, 3, seed=0):
        got = (one.expression_source, one.expression_model, one.expression_confidence, one.expression_round_trip_iou)
        expected = {generated.text: ("model", "models:/vilam/3", 0.5, 0.75), human.text: ("human", "", None, None)}
        assert got == expected.get(one.expression, ("", "", None, None))
