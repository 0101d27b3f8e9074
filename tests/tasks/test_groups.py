"""Tasks on all regions that an expression means: several, one, or none."""

from __future__ import annotations

import string
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from transformers.loss.loss_for_object_detection import generalized_box_iou

from vilam.data.records import DatasetCard, Group, ImageRecord, Region
from vilam.geometry import boxes
from vilam.tasks import GROUP_TASKS, TASKS
from vilam.tasks.base import GroupTask, Reading
from vilam.tasks.presence import probability_of_yes
from vilam.tasks.rec_every import MAX_BOXES, box_f1
from vilam.tasks.synthesis import render_groups

EVERY, PRESENCE = GROUP_TASKS.values()
CARD = DatasetCard("toy", ("dot",), {}, ("train",), ("CC0-1.0",), {})


def image(count: int) -> ImageRecord:
    """An image of 1000 x 500 pixels with a row of dots, and groups of none, of the second one and of all of them."""
    regions = [Region(str(i), (20.0 * i, 100.0, 20.0 * i + 10, 110.0 + i), "dot") for i in range(count)]
    ids = tuple(region.region_id for region in regions)
    groups = (Group("0", "a cat"), Group("1", "the second dot", ids[1:2]), Group("2", "dots", ids))
    return ImageRecord("img", "train", b"", 1000, 500, "toy", "CC0-1.0", (), tuple(regions), groups)


@pytest.mark.parametrize("task", GROUP_TASKS.values(), ids=lambda task: task.name)
def test_templates_are_distinct_and_not_those_of_other_tasks(task: GroupTask) -> None:
    others = {
        template for other in (*TASKS.values(), *GROUP_TASKS.values()) if other != task for template in other.templates
    }
    assert len(set(task.templates) - others) == len(task.templates) >= 10
    for template in task.templates:
        assert [name for _, name, _, _ in string.Formatter().parse(template) if name] == ["expression"]


@pytest.mark.parametrize("count", [2, 5, MAX_BOXES])
@pytest.mark.parametrize("task", GROUP_TASKS.values(), ids=lambda task: task.name)
def test_the_true_answer_is_parsed_and_has_a_perfect_score(task: GroupTask, count: int) -> None:
    record = image(count)
    for group in record.groups:
        reading = task.parse(task.answer(record, group), record.width, record.height)
        assert reading is not None
        scores = task.score(reading, record, group)
        assert scores.pop("num_true", len(group.region_ids)) == len(group.region_ids)
        assert set(scores.values()) == {1.0}


def test_an_answer_has_the_largest_boxes_from_left_to_right() -> None:
    record = image(MAX_BOXES + 2)
    answer = EVERY.answer(record, record.groups[2])
    reading = EVERY.parse(answer, record.width, record.height)
    assert answer.startswith(f"{MAX_BOXES} boxes: [40, 200, 50, ")  # the two smallest are on the left
    assert reading is not None and reading.boxes == tuple(sorted(reading.boxes or ()))
    found = EVERY.score(reading, record, record.groups[2])
    assert found["f1"] == pytest.approx(2 * MAX_BOXES / (2 * MAX_BOXES + 2)) and found["perfect"] == 0


@pytest.mark.parametrize(
    "answer",
    ["", "None", "none ", "0 boxes: ", "1 boxes: [1, 1, 2, 2]", "2 boxes: [1, 1, 2, 2]", "1 box: [1, 1, 2, 2] and",
     "2 boxes: [1, 1, 2, 2] and [3, 3, 3, 4]", "1 box: [1, 1, 2, 2]\n", "1 box: [[1, 1], [2, 2]]"],
)  # fmt: skip
def test_an_invalid_answer_is_not_parsed_and_scores_zero(answer: str) -> None:
    record = image(3)
    assert EVERY.parse(answer, 1000, 500) is None
    for group in record.groups:  # also for the group without regions
        scores = EVERY.score(Reading(), record, group)
        assert (scores["f1"], scores["perfect"], scores["perfect_giou"], scores["existence_correct"]) == (0, 0, 0, 0)
        assert PRESENCE.score(Reading(), record, group) == {"correct": 0}


def test_none_is_right_only_for_groups_without_regions() -> None:
    record = image(3)
    none, some = Reading(boxes=()), EVERY.parse("1 box: [0, 200, 10, 220]", 1000, 500)
    assert some is not None
    assert [EVERY.score(none, record, group)["f1"] for group in record.groups] == [1, 0, 0]
    assert [EVERY.score(none, record, group)["existence_correct"] for group in record.groups] == [1, 0, 0]
    assert [EVERY.score(some, record, group)["existence_correct"] for group in record.groups] == [0, 1, 1]
    assert [EVERY.score(some, record, group)["f1"] for group in record.groups] == [0, 0, 0.5]


def corners(draw: st.DrawFn) -> boxes.Box:
    x, y = (float(draw(st.integers(0, 6))) for _ in range(2))
    return x, y, x + draw(st.integers(1, 6)), y + draw(st.integers(1, 6))


BOXES = st.lists(st.composite(corners)(), max_size=6)


@settings(max_examples=200)
@given(BOXES, BOXES, st.randoms())
def test_f1_is_between_half_and_all_of_the_best_matching_and_independent_of_order(
    found: list[boxes.Box], true: list[boxes.Box], random: np.random.Generator
) -> None:
    value = box_f1(found, true)
    if found and true:
        reached = boxes.iou(found, true) >= 0.5
        best = 2 * int(reached[linear_sum_assignment(reached, maximize=True)].sum()) / (len(found) + len(true))
        assert best / 2 <= value <= best
    assert box_f1(true, found) == pytest.approx(value)
    assert box_f1(true, true) == 1


def authors_f1(found: list[boxes.Box], true: list[boxes.Box]) -> float:
    """What the script of gRefCOCO's authors computes for one expression that means something (refexp.py).

    At most as many rounds as the shorter list has boxes; each takes the best pair and zeroes its row and column.
    """
    overlaps = generalized_box_iou(torch.tensor(found).view(-1, 4), torch.tensor(true).view(-1, 4))
    hits = 0
    for _ in range(min(len(found), len(true))):
        value, place = overlaps.flatten().max(0)
        if value < 0.5:
            break
        hits += 1
        overlaps[int(place) // len(true), :] = 0.0
        overlaps[:, int(place) % len(true)] = 0.0
    missed, wrong = len(true) - hits, len(found) - hits
    return 2 * hits / (2 * hits + wrong + missed)


@settings(max_examples=200, deadline=None)
@given(BOXES, BOXES.filter(bool))
def test_f1_by_the_generalised_iou_is_that_of_the_authors_script(found: list[boxes.Box], true: list[boxes.Box]) -> None:
    assert box_f1(found, true, boxes.giou) == pytest.approx(authors_f1(found, true) if found else 0)


def test_a_box_that_iou_accepts_and_the_generalised_iou_refuses_tells_the_two_apart() -> None:
    record = replace(image(1), regions=(Region("0", (0.0, 0.0, 100.0, 100.0), "dot"),))
    shifted = Reading(boxes=((18.0, 18.0, 118.0, 118.0),))  # IoU 0.507, generalised 0.460
    scores = EVERY.score(shifted, record, Group("0", "dots", ("0",)))
    assert (scores["f1"], scores["perfect"], scores["perfect_giou"]) == (1, 1, 0)


@pytest.mark.parametrize(("text", "probability", "expected"), [("yes", 0.9, 0.9), ("no", 0.9, 0.1), (None, 1.0, 0.5)])
def test_the_probability_of_yes_follows_from_that_of_the_answer(
    text: str | None, probability: float, expected: float
) -> None:
    assert probability_of_yes(Reading(text=text), probability) == pytest.approx(expected)


def test_the_domain_precedes_every_question() -> None:
    scan = replace(image(2), domain="This is a picture of dots.")
    for alone, after_domain in zip(
        *(render_groups(each, GROUP_TASKS.values(), 0) for each in (image(2), scan)), strict=True
    ):
        assert after_domain.question == f"{scan.domain} {alone.question}"


def test_every_task_asks_about_every_group_with_templates_chosen_by_the_seed() -> None:
    record = image(3)
    made = list(render_groups(record, GROUP_TASKS.values(), seed=0))
    assert [(one.task, one.region_id) for one in made] == [(task, i) for task in GROUP_TASKS for i in "012"]
    assert [one.answer for one in made[3:]] == ["no", "yes", "yes"]
    assert all(one.expression in one.question and one.split == "train" for one in made)
    assert made == list(render_groups(record, GROUP_TASKS.values(), seed=0))
    assert made != list(render_groups(record, GROUP_TASKS.values(), seed=1))
