"""Masks as answers."""

import re
from dataclasses import replace

import numpy as np
import pytest

from vilam.geometry.polygons import area
from vilam.tasks import TASKS
from vilam.tasks.rec_mask import MAX_PARTS

TASK = TASKS["rec_mask"]


def _square(x, y, side):
    return ((x, y), (x, y + side), (x + side, y + side), (x + side, y))  # anticlockwise


def test_a_part_is_25_points_clockwise_and_closed(record, square):
    answer = TASK.answer(record, replace(square, polygons=(_square(20.0, 10.0, 40.0),)), None)
    assert answer.startswith("1 part: [[")
    pairs = np.array(re.findall(r"\[(\d+), (\d+)\]", answer), dtype=float)
    assert pairs.shape == (26, 2) and (pairs[0] == pairs[-1]).all()
    assert area(pairs[:-1] * (0.2, 0.1)) == pytest.approx(1600, rel=0.03)


def test_parts_are_ordered_by_size_and_the_smallest_are_dropped(record, square):
    sides = (4.0, 16.0, 8.0, 12.0)
    region = replace(square, polygons=tuple(_square(30.0 * i, 10.0, side) for i, side in enumerate(sides)))
    answer = TASK.answer(record, region, None)
    assert answer.startswith("3 parts: [[150, 100]") and answer.count(" and ") == MAX_PARTS - 1 == 2
    reading = TASK.parse(answer, 200, 100)
    areas = [area(ring) for ring in reading.polygons]
    assert areas == sorted(areas, reverse=True) and areas[-1] == pytest.approx(64, rel=0.1)


def test_the_score_counts_the_parts_that_an_answer_leaves_out(record, square, card):
    whole = replace(square, polygons=(_square(0.0, 0.0, 40.0), _square(100.0, 0.0, 40.0)))
    half = TASK.parse(TASK.answer(record, replace(square, polygons=whole.polygons[:1]), None), 200, 100)
    score = TASK.score(half, record, whole, card)
    assert score["iou"] == pytest.approx(0.5, rel=0.02)
    assert score["iou"] == score["intersection"] / score["union"]
    assert score["union"] == pytest.approx(3200, rel=0.02)


def test_other_formats_are_not_parsed(record, square):
    answer = TASK.answer(record, square, None)
    polygon = answer.removeprefix("1 part: ")
    first = re.match(r"\[\[\d+, \d+\], ", polygon)[0]
    bad = (polygon, "2 parts: " + polygon, "1 parts: " + polygon, "2 part: " + polygon, answer + " and " + polygon)
    bad += ("1 part: [" + polygon.removeprefix(first), answer.replace(first, "[[0, 0], "), answer.replace(" ", ""))
    bad += ("4 parts: " + " and ".join([polygon] * 4), "2 parts: " + polygon + " and ", "1 part: []")
    assert [text for text in bad if TASK.parse(text, 200, 100) is not None] == []
    assert TASK.parse("2 parts: " + polygon + " and " + polygon, 200, 100) is not None


def test_regions_without_polygons_are_excluded(square, card):
    assert not TASK.applies(replace(square, polygons=()), card)
    assert not TASK.applies(replace(square, polygons=(((1.0, 1.0), (2.0, 2.0), (3.0, 3.0)),)), card)
