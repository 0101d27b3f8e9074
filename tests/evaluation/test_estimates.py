"""Intervals by resampling images, against a slow bootstrap and the normal approximation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from vilam.evaluation.estimates import Bootstrap, mean_of, mean_over_kinds, mean_where, ratio_of


def interval(values: ArrayLike, groups: ArrayLike, resamples: int, seed: int) -> tuple[float, float]:
    """The interval of the mean."""
    return Bootstrap(groups, resamples, seed).interval(mean_of("mean", values))


def test_the_interval_equals_that_of_resampling_images_one_by_one() -> None:
    """A mean, a sum over a sum, and a mean over categories, one resample after the other."""
    rng = np.random.default_rng(3)
    images, over, under = rng.integers(0, 12, 90), rng.random(90), 1 + rng.random(90)
    kinds = rng.choice(["a", "b", "c"], 90, p=[0.8, 0.17, 0.03])
    resampler = np.random.default_rng(5)
    found: list[tuple[float, float, float]] = []
    for _ in range(200):
        chosen = resampler.integers(0, 12, 12)
        rows = np.concatenate([np.flatnonzero(images == image) for image in chosen])
        of_kinds = [over[rows][kinds[rows] == kind].mean() for kind in sorted({*kinds[rows]})]
        found.append((over[rows].mean(), over[rows].sum() / under[rows].sum(), float(np.mean(of_kinds))))
    bootstrap = Bootstrap(images, resamples=200, seed=5)
    estimates = [
        mean_of("mean", over),
        ratio_of("ratio", over, under),
        mean_over_kinds("balanced", over, kinds.tolist()),
    ]
    for number, estimate in enumerate(estimates):
        expected = np.percentile([each[number] for each in found], [2.5, 97.5])
        assert bootstrap.interval(estimate) == pytest.approx(tuple(expected))


def test_the_interval_of_independent_images_equals_the_normal_approximation() -> None:
    hits = np.arange(2000) % 4 == 0
    low, high = interval(hits, np.arange(2000), resamples=2000, seed=1)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 2000)
    assert (low, high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.002)


def test_the_interval_is_wider_if_answers_on_one_image_agree() -> None:
    hits = np.arange(400) % 4 == 0
    alone = interval(hits, np.arange(400), resamples=300, seed=1)
    together = interval(np.repeat(hits[:40], 10), np.repeat(np.arange(40), 10), resamples=300, seed=1)
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=30), st.integers(0, 9))
def test_the_interval_repeats_and_stays_within_the_values(answers: list[tuple[float, int]], seed: int) -> None:
    values, groups = zip(*answers, strict=True)
    low, high = interval(values, groups, resamples=20, seed=seed)
    assert (low, high) == interval(values, groups, resamples=20, seed=seed)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_mean_where_ignores_answers_that_are_not_counted() -> None:
    estimate = mean_where("some", [1.0, 0.0, 5.0, 0.5], [True, True, False, True])
    assert estimate.value == 0.5
    expected = Bootstrap(list("abc"), 50, 0).interval(mean_of("same", [1.0, 0.0, 0.5]))
    low, high = Bootstrap(list("abca"), 50, 0).interval(mean_where("same", [1.0, 0.0, 0.5, 9.0], [1, 1, 1, 0]))
    assert (low, high) == pytest.approx(expected)
