"""Paired differences: against a slow computation, and properties that any must have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilam.errors import VilamError
from vilam.evaluation.paired import Difference, paired_difference, scores
from vilam.tasks import TASKS


def answers(values: list[float], images: list[str]) -> pd.DataFrame:
    names = [f"question {number}" for number in range(len(values))]
    return pd.DataFrame({"question_id": names, "content_id": images, "value": values})


def seeds(seed: int, shift: float = 0.0) -> list[pd.DataFrame]:
    """Two seeds with three to six answers on each of twenty images; the second seed lacks some questions."""
    rng = np.random.default_rng(seed)
    images = [f"image {i}" for i in range(20) for _ in range(3 + i % 4)]
    return [answers(list(rng.random(len(images)) + shift), images).iloc[skip:] for skip in (0, 7)]


def slowly(arm: list[pd.DataFrame], baseline: list[pd.DataFrame], resamples: int) -> tuple[float, float]:
    """The interval from the definition: resample images one by one, look up every answer, average within each seed."""
    rng = np.random.default_rng(99)
    truth = [dict(zip(one["question_id"], one["value"], strict=True)) for one in baseline]
    means = []
    names = sorted(arm[0]["content_id"].unique())
    for _ in range(resamples):
        sample = rng.choice(names, size=len(names))
        of_seeds = []
        for ours, theirs in zip(arm, truth, strict=True):
            by_image = {name: list(group.itertuples()) for name, group in ours.groupby("content_id")}
            gaps = [row.value - theirs[row.question_id] for name in sample for row in by_image.get(name, [])]
            of_seeds.append(sum(gaps) / len(gaps))
        means.append(sum(of_seeds) / len(of_seeds))
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def test_the_paired_interval_equals_its_definition() -> None:
    arm, baseline = seeds(1, 0.2), seeds(2)
    found = paired_difference(arm, baseline, resamples=4000, seed=0)
    low, high = slowly(arm, baseline, resamples=600)
    assert found.low == pytest.approx(low, abs=0.012)
    assert found.high == pytest.approx(high, abs=0.012)
    expected = [float((a["value"] - b["value"]).mean()) for a, b in zip(arm, baseline, strict=True)]
    assert found.by_seed == pytest.approx(expected)
    assert found.mean == pytest.approx(sum(expected) / 2)


def test_answers_are_paired_by_their_question_not_their_order() -> None:
    arm, baseline = seeds(1), seeds(2)
    shuffled = [one.sample(frac=1, random_state=3) for one in arm]
    assert paired_difference(shuffled, baseline, 50, 0) == paired_difference(arm, baseline, 50, 0)


@settings(max_examples=10, deadline=None)
@given(st.floats(-1, 1), st.integers(0, 5))
def test_a_shift_of_all_answers_has_an_interval_of_no_width(shift: float, seed: int) -> None:
    """Images differ in difficulty, but pairing removes that."""
    baseline = seeds(seed)
    arm = [one.assign(value=one["value"] + shift) for one in baseline]
    found = paired_difference(arm, baseline, 50, seed)
    assert (found.mean, found.low, found.high) == pytest.approx((shift, shift, shift), abs=1e-9)


def test_the_difference_repeats_and_changes_its_sign_with_the_order() -> None:
    arm, baseline = seeds(1), seeds(2)
    found, back = paired_difference(arm, baseline, 99, 5), paired_difference(baseline, arm, 99, 5)
    assert found == paired_difference(arm, baseline, 99, 5)
    assert (back.mean, back.low, back.high) == pytest.approx((-found.mean, -found.high, -found.low))


def test_a_difference_is_clear_if_its_interval_excludes_0() -> None:
    assert Difference(0.1, 0.01, 0.2, ()).excludes_zero and Difference(-0.1, -0.2, -0.01, ()).excludes_zero
    assert not Difference(0.1, -0.01, 0.2, ()).excludes_zero


def test_answers_to_different_questions_are_refused() -> None:
    with pytest.raises(VilamError, match="not to the same questions"):
        paired_difference([seeds(1)[0]], [seeds(2)[1]], 10, 0)


def test_the_mean_score_equals_each_metric() -> None:
    rows = pd.DataFrame(
        [
            {"task": "rec_box", "iou": 0.5, "invalid": False},
            {"task": "rec_box", "iou": 0.2, "invalid": True},
            {"task": "reg_class", "correct": 1.0, "invalid": False},
            {"task": "reg_caption", "cider": 3.0, "exact": 1.0, "round_trip_iou": 0.7, "invalid": False},
            {"task": "reg_caption", "cider": 1.0, "exact": 0.0, "round_trip_iou": 0.1, "invalid": False},
        ]
    ).assign(question_id=list("abcde"), content_id="i", truth="circle")
    boxes = {"rec_box/acc_0.5", "rec_box/acc_0.75", "rec_box/acc_0.9", "rec_box/acc_mean", "rec_box/miou"}
    means = {name: float(each["value"].mean()) for name, each in scores(rows).items()}
    expected = {
        "rec_box/acc_0.5": 0.5,
        "rec_box/miou": 0.35,
        "reg_caption/cider": 2.0,
        "reg_caption/exact_match": 0.5,
        "cycle/round_trip_iou": 0.4,
        "cycle/round_trip_acc_0.5": 0.5,
        "reg_class/accuracy": 1.0,
        "invalid": 0.2,
    }
    assert {name: means[name] for name in expected} == pytest.approx(expected)
    assert set(means) == set(expected) | boxes
    assert set(scores(rows[rows["task"] == "rec_box"])) == boxes | {"invalid"}


def test_the_mean_of_the_scores_is_the_metric_of_the_evaluation(predict, score) -> None:
    """The mean of the scores is the metric that `evaluate` reports, for every one that is a mean of answers."""
    predictions = [predict(task, image) for task in TASKS for image in "ab"] + [
        predict(task, "c", "?") for task in TASKS
    ]
    found = score(*predictions, round_trips={"reg_caption:a:star": "[100, 200, 500, 500]"})
    means = {name: float(each["value"].mean()) for name, each in scores(found.rows).items()}
    assert means.pop("invalid") == pytest.approx(3 / 15)  # free text can always be read
    assert means == {name: pytest.approx(found.metrics[name]) for name in means}
    ends = ("_low", "_high", "/total", "/invalid", "ciou", "balanced_accuracy")
    names = {name for name in found.metrics if name.count("/") == 1 and not name.endswith(ends)}
    of_all_expressions = {f"reg_caption/{name}" for name in ("distinct_1", "distinct_2", "num_words", "entropy")}
    assert names - means.keys() == of_all_expressions
    assert {name.split("/")[0] for name in means} == {*TASKS, "cycle"}
