"""The kinds of error: exhaustive, exclusive, and in agreement with acc_0.5 and a plain reading of the definitions."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from vilam.data.records import ImageRecord, Region
from vilam.evaluation.error_kinds import (
    CORRECT,
    DEFINITIONS,
    KINDS,
    LOOSE,
    LUCK,
    NOTHING,
    OTHER_CLASS,
    SAME_CLASS,
    UNREADABLE,
    error_kinds,
)

BOXES = {
    "left": ("star", (100, 100, 300, 300)),
    "right": ("star", (600, 100, 800, 300)),
    "low": ("disc", (100, 600, 300, 800)),
}
"""Category and box of each region; the picture has 1000 x 1000 pixels, so that answers are pixels."""


def picture(boxes: dict[str, tuple[str, tuple[int, int, int, int]]] = BOXES) -> ImageRecord:
    regions = tuple(Region(name, box, category) for name, (category, box) in boxes.items())
    return ImageRecord("i", "test", b"", 1000, 1000, "made-up", "CC0", regions=regions)


def rows(*answers: tuple[str, str | tuple[int, int, int, int]], task: str = "rec_box") -> pd.DataFrame:
    """Rows of (region that was asked about, answer)."""
    texts = [(region, answer if isinstance(answer, str) else str(list(answer))) for region, answer in answers]
    named = [(task, "i", *each) for each in texts]
    return pd.DataFrame(named, columns=["task", "image_id", "region_id", "answer"])


def kinds(*answers: tuple[str, str | tuple[int, int, int, int]], record: ImageRecord | None = None) -> list[str]:
    return error_kinds(rows(*answers), {"i": record or picture()})


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((100, 100, 300, 300), CORRECT),
        ((100, 100, 300, 200), CORRECT),  # IoU 0.5
        ((100, 100, 300, 199), LOOSE),
        ((100, 100, 300, 120), LOOSE),  # IoU 0.1
        ((100, 100, 300, 119), NOTHING),
        ((600, 100, 800, 120), SAME_CLASS),
        ((100, 600, 300, 620), OTHER_CLASS),
        ((600, 100, 800, 119), NOTHING),
        ((400, 400, 500, 500), NOTHING),
        ("[100, 100]", UNREADABLE),
        ("", UNREADABLE),
    ],
)
def test_each_kind_and_its_limits(answer: str | tuple[int, int, int, int], kind: str) -> None:
    assert kinds(("left", answer)) == [kind]


def test_an_answer_between_two_regions_belongs_to_the_one_that_it_overlaps_most() -> None:
    close = picture({"left": ("star", (100, 100, 300, 300)), "right": ("disc", (300, 100, 500, 300))})
    assert kinds(("left", (190, 100, 390, 300)), record=close) == [LOOSE]  # IoU 0.38 and 0.29
    assert kinds(("left", (210, 100, 410, 300)), record=close) == [OTHER_CLASS]
    assert kinds(("right", (200, 100, 400, 300)), record=close) == [LOOSE]  # as much of both


def test_a_box_that_is_given_to_half_of_the_other_questions_is_luck() -> None:
    left, right, low = (BOXES[name][1] for name in BOXES)
    assert kinds(("left", left), ("right", left), ("low", left)) == [LUCK, SAME_CLASS, OTHER_CLASS]
    assert kinds(("left", left), ("right", left), ("low", low))[0] == LUCK
    assert kinds(("left", left), ("right", left), ("low", low), ("low", low))[0] == CORRECT
    assert kinds(("left", left), ("left", left), ("right", right)) == [CORRECT] * 3  # one region, two expressions
    assert kinds(("left", left), ("right", ""), ("low", "")) == [CORRECT, UNREADABLE, UNREADABLE]
    twins = picture({"one": ("star", left), "two": ("star", (100, 100, 300, 310))})
    assert kinds(("one", left), ("two", left), record=twins) == [CORRECT] * 2  # this place is right for both


def test_other_tasks_have_no_kind() -> None:
    both = pd.concat([rows(("left", "star"), task="reg_class"), rows(("left", (1, 1, 2, 2)))])
    assert error_kinds(both, {"i": picture()}) == ["", NOTHING]


corners, sides = st.integers(0, 20), st.integers(1, 20)
some_boxes = st.builds(lambda x, y, width, height: (x, y, x + width, y + height), corners, corners, sides, sides)
some_regions = st.lists(st.tuples(st.sampled_from(["star", "disc"]), some_boxes), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(some_regions, st.lists(st.tuples(st.integers(0, 4), some_boxes | st.just("?")), min_size=1, max_size=8))
def test_every_answer_has_one_kind_as_defined(regions: list, asked: list) -> None:
    """Against pycocotools and the sentences of DEFINITIONS, read one by one."""
    record = picture({str(number): region for number, region in enumerate(regions)})
    answers = [(str(number % len(regions)), answer) for number, answer in asked]
    found = kinds(*answers, record=record)
    assert len(found) == len(answers)
    assert set(found) <= set(KINDS) == set(DEFINITIONS)
    for (target, answer), kind in zip(answers, found, strict=True):
        assert kind in _possible(regions, int(target), answer)


def _possible(regions: list, target: int, answer: str | tuple[int, int, int, int]) -> set[str]:
    if isinstance(answer, str):
        return {UNREADABLE}
    overlaps = [_iou(answer, box) for _, box in regions]
    best = max(overlaps)
    if overlaps[target] >= 0.5:
        return {CORRECT, LUCK}
    if best < 0.1:
        return {NOTHING}
    if overlaps[target] == best:
        return {LOOSE}
    nearest = {category for (category, _), overlap in zip(regions, overlaps, strict=True) if overlap == best}
    return {SAME_CLASS if category == regions[target][0] else OTHER_CLASS for category in nearest}


def _iou(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    xywh = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in (one, other)]
    return float(coco.iou(np.array(xywh[:1], dtype=float), np.array(xywh[1:], dtype=float), [0])[0, 0])


def test_the_right_kinds_are_those_that_acc_counts(score: Callable, predict: Callable) -> None:
    answers = ["[100, 200, 500, 600]", "[100, 200, 500, 399]", "[800, 800, 840, 840]"]
    evaluation = score(*(predict("rec_box", image, answer) for image, answer in zip("abc", answers, strict=True)))
    found = evaluation.rows["error_kind"]
    assert found.tolist() == [CORRECT, LOOSE, OTHER_CLASS]
    assert found.isin([CORRECT, LUCK]).mean() == evaluation.metrics["rec_box/acc_0.5"]
