"""Keypoints as answers."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilam.data.records import ImageRecord, Region
from vilam.tasks import TASKS
from vilam.tasks.grammar import Literal, Points

TASK = TASKS["rec_keypoints"]
FRACTION = st.floats(min_value=0, max_value=1)


def test_an_answer_has_all_keypoints_in_order_and_zeros_for_unlabelled_ones(record, square):
    assert TASK.answer(record, square, None) == "4 keypoints: [[100, 100], [300, 100], [300, 500], [0, 0]]"


def test_the_grammar_has_an_alternative_for_each_number_of_points(card):
    assert TASK.grammar(card) == (
        (Literal("1 keypoint: "), Points(1)),
        (Literal("4 keypoints: "), Points(4)),
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(FRACTION, FRACTION), min_size=1, max_size=17), st.integers(1, 3000), st.integers(1, 3000))
def test_points_are_read_back_within_half_a_unit(fractions, width, height):
    truth = tuple((x * width, y * height, 2) for x, y in fractions)
    record = ImageRecord("i", "train", b"", width, height, "toy", "CC0-1.0")
    reading = TASK.parse(TASK.answer(record, Region("r", (0, 0, 1, 1), "c", (), truth), None), width, height)
    assert reading is not None and reading.points is not None
    for (x, y), (true_x, true_y, _) in zip(reading.points, truth, strict=True):
        assert abs(x - true_x) <= width / 2000 + 1e-9 and abs(y - true_y) <= height / 2000 + 1e-9


@pytest.mark.parametrize(
    "answer",
    [
        "2 keypoints: [[1, 2]]",
        "1 keypoints: [[1, 2]]",
        "2 keypoint: [[1, 2], [3, 4]]",
        "[[1, 2]]",
        "1 keypoint: [1, 2]",
        "1 keypoint: [[1, 1001]]",
        "0 keypoints: []",
        "1 keypoint: [[1, 2]] [[1, 2]]",
    ],
)
def test_other_formats_are_not_parsed(answer):
    assert TASK.parse(answer, 100, 100) is None


def test_the_area_is_that_of_the_polygons_or_a_fraction_of_the_box_without_them(record, square, card):
    reading = TASK.parse("4 keypoints: [[150, 100], [300, 100], [300, 500], [900, 900]]", 200, 100)
    # one of three labelled points is 10 px off: (2 + exp(-100 / (2 * area * (2 * 0.05)^2))) / 3
    assert TASK.score(reading, record, square, card)["oks"] == pytest.approx((2 + 0.04393693) / 3)  # area 1600
    boxed = replace(square, polygons=())
    assert TASK.score(reading, record, boxed, card)["oks"] == pytest.approx((2 + 0.00274986) / 3, abs=1e-6)  # 848


def test_a_different_number_of_points_scores_zero(record, square, card):
    assert TASK.score(TASK.parse("1 keypoint: [[1, 2]]", 200, 100), record, square, card) == {"oks": 0.0, "pck": 0.0}


def test_regions_without_labelled_keypoints_or_expressions_are_excluded(square, card):
    assert not TASK.applies(replace(square, keypoints=((0.0, 0.0, 0),) * 4), card)
    assert not TASK.applies(replace(square, keypoints=square.keypoints[:3]), card)
    assert not TASK.applies(replace(square, expressions=()), card)
    assert not TASK.applies(replace(square, category="house"), card)
