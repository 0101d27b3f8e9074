"""Diversity, each number against a count by hand."""

from __future__ import annotations

import math

import pytest

from vilam.evaluation.diversity import diversity


def test_counts_by_hand():
    found = diversity(["the red star", "the star", "The star!"])
    assert found["distinct_1"] == pytest.approx(3 / 7)  # the, red, star of 7 words
    assert found["distinct_2"] == pytest.approx(3 / 4)  # the red, red star, the star of 4 pairs
    assert found["num_words"] == pytest.approx(7 / 3)
    bits = -(1 / 3 * math.log2(1 / 3) + 2 / 3 * math.log2(2 / 3))
    assert found["entropy"] == pytest.approx(bits / math.log2(3))


def test_a_model_that_repeats_itself_has_none():
    collapsed, fresh = diversity(["the circle"] * 50), diversity([f"the thing {i}" for i in range(50)])
    assert collapsed["entropy"] == 0 and fresh["entropy"] == pytest.approx(1)
    assert collapsed["distinct_2"] == pytest.approx(1 / 50) and fresh["distinct_2"] > 0.5


def test_of_no_expression_of_one_and_of_single_words():
    assert diversity([]) == {} and diversity(["star"])["entropy"] == 1
    assert diversity(["star", "ring"])["distinct_2"] == 0
