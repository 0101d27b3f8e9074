"""Rows and metrics of predictions: one row per answer, unreadable ones score 0."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from vilam.data.records import DatasetCard, ImageRecord
from vilam.errors import VilamError
from vilam.evaluation.evaluator import Evaluation, evaluate
from vilam.evaluation.predictions import Prediction
from vilam.tasks import TASKS

Predict = Callable[..., Prediction]
Records = dict[str, ImageRecord]


PERFECT = {
    "rec_box": {"acc_0.5": 1, "miou": 1},
    "rec_keypoints": {"oks": 1, "acc_oks_0.5": 1},
    "rec_mask": {"acc_0.5": 1, "miou": 1, "ciou": 1},
    "reg_class": {"accuracy": 1},
    "reg_caption": {"exact_match": 1},
}


@pytest.mark.parametrize("task", TASKS)
def test_a_true_answer_has_the_best_score_and_an_unreadable_one_0(
    task: str, predict: Predict, score: Callable[..., Evaluation]
) -> None:
    full = score(predict(task)).metrics
    half = score(predict(task), predict(task, "b", " ")).metrics
    for name, value in PERFECT[task].items():
        assert full[f"{task}/{name}"] == pytest.approx(value, abs=0.06)
        assert half[f"{task}/{name}"] == pytest.approx(full[f"{task}/{name}"] / 2)
    assert (full[f"{task}/invalid"], half[f"{task}/invalid"], half[f"{task}/total"]) == (0, 0.5, 2)


def test_tasks_that_were_not_asked_have_only_a_total(predict: Predict, score: Callable[..., Evaluation]) -> None:
    metrics = score(predict("reg_class")).metrics
    assert {name: value for name, value in metrics.items() if not name.startswith("reg_class/")} == {
        f"{task}/total": 0 for task in TASKS if task != "reg_class"
    }


def test_metrics_are_never_nan(predict: Predict, score: Callable[..., Evaluation]) -> None:
    found = score(*(predict(task, image) for task in TASKS for image in "abc"), round_trips={})
    assert not [name for name, value in found.metrics.items() if not math.isfinite(value)]
    assert "cycle/total" not in found.metrics


def test_rows_keep_the_order_and_have_kind_and_size(predict: Predict, score: Callable[..., Evaluation]) -> None:
    dot = predict("rec_box", "a", "[800, 800, 840, 840]", region_id="circle")
    rows = score(predict("rec_box", "b", "[100, 200, 300, 600]"), dot, predict("reg_class", "a", "circle")).rows
    assert list(rows["image_id"]) == ["b", "a", "a"]
    assert list(rows["size"]) == ["large", "small", "large"]
    assert list(rows["expression_kind"]) == ["attribute", "class", ""]
    assert list(rows["iou"][:2]) == pytest.approx([0.5, 1])
    assert rows["correct"][2] == 0
    assert rows["truth"][0] == "[100, 200, 500, 600]"


def test_a_region_without_expressions_is_scored_against_those_of_its_instructions(
    predict: Predict, score: Callable[..., Evaluation]
) -> None:
    rows = score(predict("reg_caption", region_id="circle", answer="A dot."), predict("reg_caption", "b")).rows
    assert rows["exact"][0] == 1
    assert rows["references"][0] == ("a dot",)
    assert len(rows["references"][1]) == 2


def test_cider_counts_every_expression_of_the_region(predict: Predict, score: Callable[..., Evaluation]) -> None:
    captions = [predict("reg_caption", "a", "the red star"), predict("reg_caption", region_id="circle", answer="a dot")]
    metrics = score(*captions, predict("rec_box")).metrics
    # of 4 sizes of n-grams: the star's first reference has 3 in common, its second nothing but "star"; the dot's has 2
    assert 10 * (3 / 4 / 2 + 2 / 4) / 2 <= metrics["reg_caption/cider"] <= 10 * (4 / 4 / 2 + 2 / 4) / 2


def test_round_trips_score_the_box_found_from_the_generated_expression(
    predict: Predict, score: Callable[..., Evaluation]
) -> None:
    captions = [predict("reg_caption", "a"), predict("reg_caption", "b"), predict("reg_caption", "c", " ")]
    answers = {"reg_caption:a:star": "[100, 200, 500, 600]", "reg_caption:b:star": "[100, 200, 300, 400]"}
    found = score(*captions, predict("rec_box", "a", "nonsense"), round_trips=answers)
    assert found.metrics["cycle/total"] == 3  # an expression that could not be read finds no box
    assert found.metrics["cycle/round_trip_iou"] == pytest.approx((1 + 0.25 + 0) / 3)
    assert found.metrics["cycle/round_trip_acc_0.5"] == pytest.approx(1 / 3)


def test_the_interval_repeats_and_contains_the_accuracy(predict: Predict, records: Records, card: DatasetCard) -> None:
    predictions = [predict("rec_box", image, answer) for image, answer in zip("abc", [None, None, "x"], strict=True)]
    first, again = (evaluate(predictions, records, card, bootstrap=50, seed=3).metrics for _ in range(2))
    assert first == again
    assert first["rec_box/acc_0.5_low"] <= first["rec_box/acc_0.5"] <= first["rec_box/acc_0.5_high"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": "zz"}, "image zz has an answer but no record"),
        ({"region_id": "zz"}, "image a has no region zz"),
        ({"task": "activation"}, "activation is not an evaluated task"),
    ],
)
def test_an_unknown_image_region_or_task_is_reported_in_one_line(
    change: dict[str, str], message: str, predict: Predict, score: Callable[..., Evaluation]
) -> None:
    prediction = predict("rec_box")
    with pytest.raises(VilamError, match=message):
        score(replace(prediction, instruction=replace(prediction.instruction, **change)))


def test_an_evaluation_without_predictions_is_an_error(score: Callable[..., Evaluation]) -> None:
    with pytest.raises(VilamError, match="no answers"):
        score()


def test_held_out_categories_are_also_scored_separately(
    predict: Predict, records: dict[str, ImageRecord], card: DatasetCard
) -> None:
    named = [predict("reg_class", "a"), predict("reg_class", "b", " circle"), predict("reg_class", region_id="circle")]
    named = [*named[:2], replace(named[2], answer=" circle")]
    found = evaluate(named, records, replace(card, unseen=("star",)), bootstrap=10, seed=0)
    assert list(found.rows["seen"]) == ["unseen", "unseen", "seen"]
    assert found.metrics["reg_class/unseen/accuracy_low"] <= 0.5 <= found.metrics["reg_class/unseen/accuracy_high"]
    assert found.metrics["reg_class/unseen/accuracy"] == 0.5 and found.metrics["reg_class/unseen/total"] == 2
    assert found.metrics["reg_class/seen/accuracy"] == 1 and found.metrics["reg_class/seen/total"] == 1
    assert found.metrics["reg_class/accuracy"] == pytest.approx(2 / 3)


def test_there_are_no_parts_without_held_out_categories(predict: Predict, score: Callable[..., Evaluation]) -> None:
    assert not [name for name in score(predict("reg_class")).metrics if "seen" in name]


def test_several_splits_are_scored_separately_and_together(
    predict: Callable[..., Prediction], score: Callable[..., Evaluation]
) -> None:
    right, wrong, other = predict("rec_box", "a"), predict("rec_box", "b", "[0, 0, 10, 10]"), predict("rec_box", "c")
    other = replace(other, instruction=replace(other.instruction, split="testB"))
    found = score(right, wrong, other).metrics
    assert found["rec_box/acc_0.5"] == pytest.approx(2 / 3)
    assert found["rec_box/split_test/acc_0.5"] == 0.5 and found["rec_box/split_testB/acc_0.5"] == 1
    assert (found["rec_box/split_test/total"], found["rec_box/split_testB/total"]) == (2, 1)
    alone = score(right, wrong).metrics
    for name in ("acc_0.5", "acc_0.5_low", "acc_0.5_high", "miou"):
        assert found[f"rec_box/split_test/{name}"] == alone[f"rec_box/{name}"]
    assert not [name for name in alone if "split_" in name]
