"""Boxes and points as text and back."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vilam.tasks.answers import box_text, points_text, read_box, read_points, thousandths

SIDES = st.integers(min_value=1, max_value=5000)
FRACTION = st.floats(min_value=0, max_value=1)


@settings(max_examples=100, deadline=None)
@given(SIDES, SIDES, FRACTION, FRACTION, FRACTION, FRACTION)
def test_a_box_is_read_back_within_half_a_ten_thousandth_of_a_unit_or_one_if_it_was_thinner(width, height, a, b, c, d):
    x1, x2 = sorted((a * width, b * width))
    y1, y2 = sorted((c * height, d * height))
    text = box_text((x1, y1, x2, y2), width, height)
    box = read_box(text, width, height)
    assert box is not None
    for found, true, side, thickness in zip(
        box, (x1, y1, x2, y2), (width, height) * 2, (x2 - x1, y2 - y1) * 2, strict=True
    ):
        units = 0.5 if thickness > side / 1e7 else 1.5
        assert abs(found - true) <= units * side / 1e7 + 1e-9


@settings(max_examples=50, deadline=None)
@given(SIDES, SIDES, FRACTION, FRACTION, FRACTION, FRACTION)
def test_whole_numbers_are_those_of_the_pixels_rounded_half_up(width, height, a, b, c, d):
    """The way through four decimals moves only what is that near to a half."""
    x1, x2 = sorted((a * width, b * width))
    y1, y2 = sorted((c * height, d * height))
    exact = [1000 * value / side for value, side in zip((x1, y1, x2, y2), (width, height) * 2, strict=True)]
    assume(all(abs(each % 1 - 0.5) > 1e-4 for each in exact) and exact[2] - exact[0] > 1 < exact[3] - exact[1])
    numbers = [int(each + 0.5) for each in exact]
    assert thousandths(box_text((x1, y1, x2, y2), width, height)) == str(numbers)
    pairs = [[numbers[0], numbers[1]], [numbers[2], numbers[3]]]
    assert thousandths(points_text([(x1, y1), (x2, y2)], width, height)) == str(pairs)


def test_a_thin_box_is_widened_to_a_thousandth_and_one_without_area_is_not():
    assert thousandths(box_text((10.01, 20, 10.02, 40), 100, 100)) == "[100, 200, 101, 400]"
    assert thousandths(box_text((99.99, 0, 100, 0.01), 100, 100)) == "[999, 0, 1000, 1]"
    assert thousandths("[30.4, 10, 30.4, 20]") == "[30, 10, 30, 20]"


def test_an_object_of_32_pixels_in_a_large_photograph_keeps_its_place():
    """Through whole thousandths, of 12 and 9 pixels, it would be read with an IoU of 0.72 at best."""
    box = (5003.0, 4007.0, 5035.0, 4039.0)
    assert read_box(box_text(box, 12_000, 9_000), 12_000, 9_000) == pytest.approx(box, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=30), SIDES, SIDES)
def test_points_are_read_back_exactly(numbers, width, height):
    points = read_points(str([list(pair) for pair in numbers]), width, height)
    assert points is not None
    text = points_text(points, width, height)
    assert text == str([list(pair) for pair in numbers])


def test_closed_points_repeat_the_first():
    assert points_text([(1, 2), (3, 4.5)], 10, 10, closed=True) == "[[100, 200], [300, 450], [100, 200]]"
    assert points_text([(1, 2)], 3, 7) == "[[333.3333, 285.7143]]"


def test_boxes_in_other_formats_are_not_parsed():
    good = "[10, 20, 30, 40]"
    assert read_box(good, 100, 100) == (1.0, 2.0, 3.0, 4.0)
    assert read_box("[10.5, 20, 30, 40.25]", 100, 100) == (1.05, 2.0, 3.0, 4.025)
    bad = ("", "[10, 20, 30]", "[10,20,30,40]", good + " ", " " + good, "[10, 20, 30, 1001]", "[30, 20, 10, 40]")
    bad += ("[10, 40, 30, 40]", "[010, 20, 30, 40]", "[10., 20, 30, 40]", "[-1, 20, 30, 40]", "[10, 20, 30, 40, 50]")
    bad += ("[１0, 20, 30, 40]", "[[10, 20], [30, 40]]", good + "\n")
    assert [text for text in bad if read_box(text, 100, 100) is not None] == []
    assert [text for text in bad[:-2] if read_points(text, 100, 100) is not None] == []
