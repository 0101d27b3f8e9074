"""The gate: each case that passes or fails, with answers from which its numbers can be counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vilam.config import RegisterSettings
from vilam.evaluation.evaluator import metrics_of
from vilam.evaluation.gate import Answered, Gate, gate
from vilam.evaluation.paired import paired_difference, scores

PRIMARY, GUARD = "rec_box/acc_0.5", "reg_class/accuracy"
SETTINGS = RegisterSettings(model_name="vilam", primary=PRIMARY, guards={GUARD: 0.02})
NUMBER = 100


def answers(boxes: int, classes: int, data: str = "scenes") -> pd.DataFrame:
    """100 answers of each task about 20 images, of which the first ``boxes`` and ``classes`` are right."""
    right = {"rec_box": np.arange(NUMBER) < boxes, "reg_class": np.arange(NUMBER) < classes}
    frames = [
        pd.DataFrame(
            {
                "question_id": [f"{data} {task} {i}" for i in range(NUMBER)],
                "image_id": [f"{i // 5}" for i in range(NUMBER)],
                "content_id": [f"{i // 5}" for i in range(NUMBER)],
                "region_id": "0",
                "task": task,
                "split": "test",
                "truth": "circle",
                "category": "circle",
                "seen": "",
                "size": "small",
                "expression_kind": "free",
                "expression_length": "3-5",
                "answer": "x",
                "references": [()] * NUMBER,
                "invalid": False,
                "iou": right[task].astype(float) if task == "rec_box" else np.nan,
                "correct": right[task].astype(float) if task == "reg_class" else np.nan,
            }
        )
        for task in right
    ]
    return pd.concat(frames, ignore_index=True)


def judged(challenger: pd.DataFrame, *rivals: pd.DataFrame, settings: RegisterSettings = SETTINGS) -> Gate:
    named = [Answered(f"version {number}", rows) for number, rows in enumerate(rivals, start=1)]
    return gate(Answered("this model", challenger), named, settings)


def test_the_first_model_passes() -> None:
    outcome = judged(answers(10, 10))
    assert outcome.passed and outcome.best is None
    assert outcome.reasons[0] == f"{PRIMARY} 0.1: no other model to compare with on these questions"


@pytest.mark.parametrize(("boxes", "passed"), [(71, True), (70, True), (69, False), (40, False)])
def test_the_primary_may_not_fall_at_all(boxes: int, passed: bool) -> None:
    """0.69 is well inside the interval of 0.70: promotions within it would lose points one after the other."""
    outcome = judged(answers(boxes, 90), answers(70, 90))
    assert outcome.passed is passed
    assert outcome.best == "version 1"


@pytest.mark.parametrize(("classes", "passed"), [(95, True), (88, True), (87, False)])
def test_a_guard_may_fall_by_its_tolerance(classes: int, passed: bool) -> None:
    outcome = judged(answers(80, classes), answers(70, 90))
    assert outcome.passed is passed
    assert any(GUARD in reason for reason in outcome.reasons)


def test_a_series_of_promotions_never_loses_more_than_the_tolerance() -> None:
    """Each model is 0.02 below the one before it in the guard; the best so far is kept in mind."""
    passed = [answers(70, 90)]
    for classes in (88, 86, 84):
        if judged(answers(75, classes), *passed).passed:
            passed.append(answers(75, classes))
    assert [int(rows["correct"].sum()) for rows in passed] == [90, 88]


def test_the_reason_has_the_paired_difference_and_its_interval() -> None:
    ours, theirs = answers(73, 90), answers(70, 90)
    expected = paired_difference([scores(ours)[PRIMARY]], [scores(theirs)[PRIMARY]], 2000, 0)
    reason = judged(ours, theirs).reasons[0]
    assert reason == (
        f"{PRIMARY} 0.73: 0.03 above version 1 (95 % interval {expected.low:+.4f} to {expected.high:+.4f})"
    )


def test_only_questions_that_both_were_asked_count() -> None:
    """The rival was right about all of its questions, and is compared on these alone."""
    ours, theirs = answers(60, 90), answers(100, 90)
    few = theirs[theirs["image_id"].isin([str(i) for i in range(12)])]
    outcome = judged(ours, few)  # the challenger is right about the first 60 too
    assert outcome.passed
    assert "on the 120 questions that both may be asked" in outcome.reasons[0]
    assert not judged(answers(59, 90), few).passed


def test_a_rival_that_was_trained_on_all_images_fails_the_challenger() -> None:
    outcome = judged(answers(60, 90), pd.DataFrame({"question_id": []}))
    assert not outcome.passed and "version 1 was trained on every image" in outcome.reasons[0]


@pytest.mark.parametrize("task", ["rec_box", "reg_class"])
def test_a_missing_metric_fails_the_challenger(task: str) -> None:
    rows = answers(80, 90)
    for rivals in ([answers(70, 90)], []):
        outcome = judged(rows[rows["task"] != task], *rivals)
        assert not outcome.passed
        (reason,) = outcome.reasons
        assert reason.endswith("is missing in its answers")


def test_a_metric_that_the_rival_lacks_passes() -> None:
    rows = answers(70, 90)
    outcome = judged(answers(80, 10), rows[rows["task"] == "rec_box"])
    assert outcome.passed
    assert any(f"{GUARD} 0.1: no other model" in reason for reason in outcome.reasons)


def test_all_failures_are_reported() -> None:
    assert len(judged(answers(10, 10), answers(70, 90)).reasons) == 2


def test_the_best_rival_is_named_also_if_the_challenger_fails() -> None:
    outcome = judged(answers(60, 90), answers(50, 90), answers(75, 90))
    assert not outcome.passed and outcome.best == "version 2"


def test_a_metric_that_is_no_mean_of_answers_is_compared_too() -> None:
    settings = SETTINGS.model_copy(update={"primary": "reg_class/balanced_accuracy", "guards": {}})
    ours, theirs = answers(0, 80), answers(0, 85)
    outcome = judged(ours, theirs, settings=settings)
    value = dict(metrics_of(ours, 1, 0))["reg_class/balanced_accuracy"]
    assert outcome.reasons == [f"reg_class/balanced_accuracy {value:.4g}: 0.05 below version 1"]
