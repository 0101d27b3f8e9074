"""Boxes and points as text and back."""

from hypothesis import given, settings
from hypothesis import strategies as st

from vilam.tasks.answers import box_text, points_text, read_box, read_points

SIDES = st.integers(min_value=1, max_value=5000)
FRACTION = st.floats(min_value=0, max_value=1)


@settings(max_examples=100, deadline=None)
@given(SIDES, SIDES, FRACTION, FRACTION, FRACTION, FRACTION)
def test_a_box_is_read_back_within_half_a_unit_or_one_if_it_was_thinner(width, height, a, b, c, d):
    x1, x2 = sorted((a * width, b * width))
    y1, y2 = sorted((c * height, d * height))
    text = box_text((x1, y1, x2, y2), width, height)
    box = read_box(text, width, height)
    assert box is not None
    for found, true, side, thickness in zip(
        box, (x1, y1, x2, y2), (width, height) * 2, (x2 - x1, y2 - y1) * 2, strict=True
    ):
        units = 0.5 if thickness > side / 1000 else 1.5
        assert abs(found - true) <= units * side / 1000 + 1e-9


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=30), SIDES, SIDES)
def test_points_are_read_back_exactly(numbers, width, height):
    points = read_points(points_text(numbers), width, height)
    assert points is not None
    assert [(round(x * 1000 / width), round(y * 1000 / height)) for x, y in points] == numbers


def test_closed_points_repeat_the_first():
    assert points_text([(1, 2), (3, 4)], closed=True) == "[[1, 2], [3, 4], [1, 2]]"


def test_boxes_in_other_formats_are_not_parsed():
    good = "[10, 20, 30, 40]"
    assert read_box(good, 100, 100) == (1.0, 2.0, 3.0, 4.0)
    bad = ("", "[10, 20, 30]", "[10,20,30,40]", good + " ", " " + good, "[10, 20, 30, 1001]", "[30, 20, 10, 40]")
    bad += ("[10, 40, 30, 40]", "[010, 20, 30, 40]", "[10.5, 20, 30, 40]", "[-1, 20, 30, 40]", "[10, 20, 30, 40, 50]")
    bad += ("[１0, 20, 30, 40]", "[[10, 20], [30, 40]]", good + "\n")
    assert [text for text in bad if read_box(text, 100, 100) is not None] == []
    assert [text for text in bad[:-2] if read_points(text, 100, 100) is not None] == []
