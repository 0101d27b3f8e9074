"""What holds for every task: its templates, its answers, and their parser."""

import re
import string
from dataclasses import replace

import pytest

from vilam.tasks import ACTIVATION, TASKS
from vilam.tasks.grammar import Box, Literal, OneOf, Points, Words

EVERY = [*TASKS.values(), ACTIVATION]
PERFECT = {
    "rec_box": {"iou": 1.0},
    "rec_keypoints": {"oks": 1.0, "pck": 1.0},
    "rec_mask": {"iou": 1.0, "intersection": 1600.0, "union": 1600.0},
    "reg_class": {"correct": 1.0},
    "reg_caption": {"exact": 1.0},
    "activation": {"iou": 1.0},
}


def test_the_five_tasks_are_in_the_papers_order():
    assert list(TASKS) == ["rec_box", "rec_keypoints", "rec_mask", "reg_class", "reg_caption"]


@pytest.mark.parametrize("task", EVERY, ids=lambda task: task.name)
def test_templates_are_distinct_and_short_and_have_the_slots_of_their_direction(task):
    slots = {"rec": ["expression"], "reg": ["region"], "both": ["expression", "region"]}[task.direction]
    assert len(set(task.templates)) == len(task.templates) >= 10
    for template in task.templates:
        assert sorted(name for _, name, _, _ in string.Formatter().parse(template) if name) == slots
        assert len(template.split()) <= 9


def test_no_question_is_shared_by_two_tasks():
    templates = [template for task in TASKS.values() for template in task.templates]
    assert len(set(templates)) == len(templates)


@pytest.mark.parametrize("task", EVERY, ids=lambda task: task.name)
def test_the_true_answer_of_every_template_is_parsed_and_has_a_perfect_score(task, record, square, card):
    assert task.applies(square, card)
    for template in range(len(task.templates)):
        for expression in square.expressions:
            question = task.question(template, record, square, expression)
            answer = task.answer(record, square, expression, template)
            assert "{" not in question + answer
            reading = task.parse(answer, record.width, record.height)
            assert reading is not None
            assert task.score(reading, record, square, card) == pytest.approx(PERFECT[task.name], rel=0.02)


@pytest.mark.parametrize("task", EVERY, ids=lambda task: task.name)
def test_the_domain_precedes_every_question(task, record, square):
    scan = replace(record, domain="This is a picture of a chest x-ray.")
    for template in range(len(task.templates)):
        alone = task.question(template, record, square, square.expressions[0])
        assert task.question(template, scan, square, square.expressions[0]) == f"{scan.domain} {alone}"


@pytest.mark.parametrize("task", EVERY, ids=lambda task: task.name)
def test_an_answer_with_more_words_or_none_is_not_parsed(task, record, square):
    answer = task.answer(record, square, square.expressions[0])
    assert task.parse("", 200, 100) is None
    if task.direction == "rec":
        assert task.parse(answer + " and so on", 200, 100) is None
        assert task.parse(answer + "\n", 200, 100) is None


@pytest.mark.parametrize("task", EVERY, ids=lambda task: task.name)
def test_the_grammar_accepts_the_true_answer(task, record, square, card):
    answers = [task.answer(record, square, expression, 3) for expression in square.expressions]
    assert all(any(_accepts(alternative, answer) for alternative in task.grammar(card)) for answer in answers)


def _accepts(alternative, answer):
    """Whether an answer follows an alternative of a grammar, by an independent pattern of each element."""
    number = r"\d{1,4}"
    patterns = []
    for element in alternative:
        match element:
            case Literal(text):
                patterns.append(re.escape(text))
            case Box():
                patterns.append(rf"\[{number}(, {number}){{3}}\]")
            case Points(count, closed):
                patterns.append(rf"\[\[{number}, {number}\](, \[{number}, {number}\]){{{count - 1 + closed}}}\]")
            case OneOf(options):
                patterns.append("|".join(map(re.escape, options)))
            case Words():
                patterns.append(r"[^\[\]]+")
    return re.fullmatch("".join(f"(?:{pattern})" for pattern in patterns), answer) is not None
