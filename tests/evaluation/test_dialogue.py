"""The second turn of a dialogue: its box, its question and its metrics."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vilam.evaluation.dialogue import dialogue_metrics, second_turns
from vilam.evaluation.predictions import Prediction

FAR = "[100, 200, 500, 380]"  # IoU 0.45 with the star of 40 x 40 at (10, 20)


def answered(first: list[Prediction], categories: list[str], records, card) -> dict[str, float]:
    turns = second_turns(first, records, card)
    second = [Prediction(turn, answer, 0.5) for turn, answer in zip(turns, categories, strict=True)]
    return dict(dialogue_metrics(first, second, records, card, {name: name for name in records}, resamples=50, seed=0))


def test_the_second_turn_asks_about_the_box_that_was_found(predict, records, card):
    first = predict("rec_box", answer="[7, 8, 900, 999]")
    (turn,) = second_turns([first, predict("reg_class")], records, card)
    assert turn.question == "What category is in [7, 8, 900, 999]?"
    assert (turn.task, turn.answer, turn.instruction_id) == ("reg_class", "star", first.instruction.instruction_id)


def test_an_unreadable_box_has_no_second_turn_and_counts_as_wrong(predict, records, card):
    first = [predict("rec_box", "a", "[1, 2, 3]"), predict("rec_box", "b")]
    assert [turn.image_id for turn in second_turns(first, records, card)] == ["b"]
    found = answered(first, ["star"], records, card)
    assert (found["dialogue/accuracy"], found["dialogue/found_and_named"], found["dialogue/total"]) == (0.5, 0.5, 2)


def test_naming_and_finding_are_counted_separately(predict, records, card):
    """Named alone, found alone, both, and neither."""
    first = [predict("rec_box", "a", FAR), predict("rec_box", "b"), predict("rec_box", "c")]
    first.append(predict("rec_box", "c", FAR, region_id="circle"))
    found = answered(first, ["star", "circle", " star", "star"], records, card)
    assert found["dialogue/accuracy"] == 2 / 4
    assert found["dialogue/found_and_named"] == 1 / 4
    for name in ("accuracy", "found_and_named"):
        low, high = found[f"dialogue/{name}_low"], found[f"dialogue/{name}_high"]
        assert 0 <= low <= found[f"dialogue/{name}"] <= high <= 1 and low < high


@pytest.mark.parametrize("categories", [("star",), ()])
def test_a_data_set_of_one_category_has_no_second_turn(predict, records, card, categories):
    bare = replace(card, categories=categories)
    assert second_turns([predict("rec_box")], records, bare) == []
    assert answered([predict("rec_box")], [], records, bare) == {}


def test_no_box_questions_give_no_metrics(predict, records, card):
    assert answered([predict("reg_class")], [], records, card) == {}
