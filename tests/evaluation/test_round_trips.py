"""Round trips: their questions and their metrics."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from vilam.evaluation.estimates import Bootstrap, mean_of
from vilam.evaluation.round_trips import round_trip_metrics, round_trip_questions
from vilam.tasks import TASKS


def test_regions_without_a_round_trip_are_left_out() -> None:
    rows = pd.DataFrame({"round_trip_iou": [0.8, math.nan, 0.2, 0.5], "content_id": list("abcd")})
    found = dict(round_trip_metrics(rows, 50, 0))
    values = {"cycle/round_trip_iou": 0.5, "cycle/round_trip_acc_0.5": 2 / 3, "cycle/total": 3}
    assert {name: found[name] for name in values} == pytest.approx(values)
    low, high = Bootstrap(list("acd"), 50, 0).interval(mean_of("mean", [0.8, 0.2, 0.5]))
    assert (found["cycle/round_trip_iou_low"], found["cycle/round_trip_iou_high"]) == (low, high)


def test_without_round_trips_there_are_no_metrics() -> None:
    assert dict(round_trip_metrics(pd.DataFrame(), 5, 0)) == {}


def test_every_generated_expression_has_one_round_trip(predict, records) -> None:
    written = predict("reg_caption", "a", " a blue ring ")
    others = [predict("reg_caption", "b", " "), predict("reg_class", "c"), predict("rec_box", "c")]
    (question,) = round_trip_questions([written, *others], records)
    assert question.instruction_id == written.instruction.instruction_id and question.region_id == "star"
    assert (question.task, question.expression) == ("rec_box", "a blue ring")
    assert question.question == TASKS["rec_box"].templates[0].format(expression="a blue ring")
