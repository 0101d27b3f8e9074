"""The metrics of each task on made-up rows, against numbers worked out by hand or by another formula."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from vilam.evaluation.task_metrics import task_estimates, task_metrics


def values(task: str, rows: pd.DataFrame) -> dict[str, float]:
    """The metrics of a task without their intervals."""
    found = task_metrics(task, rows, resamples=10, seed=0)
    return {name: value for name, value in found if not name.endswith(("_low", "_high"))}


def test_a_box_task_counts_every_answer(box_rows: pd.DataFrame) -> None:
    expected = {"total": 5, "invalid": 0.2, "acc_0.5": 0.6, "acc_0.75": 0.4, "acc_0.9": 0.4, "miou": 2.89 / 5}
    expected["acc_mean"] = (0.6 + 0.4 * 8 + 0.2) / 10
    assert values("rec_box", box_rows) == pytest.approx({f"rec_box/{name}": each for name, each in expected.items()})


def test_every_metric_has_an_interval_around_it() -> None:
    rows = pd.DataFrame(
        {
            "content_id": np.repeat(np.arange(40), 3),
            "iou": np.random.default_rng(0).random(120),
            "intersection": np.random.default_rng(1).random(120),
            "union": 1 + np.random.default_rng(2).random(120),
            "oks": np.random.default_rng(3).random(120),
            "pck": np.random.default_rng(4).random(120),
            "correct": np.random.default_rng(5).integers(0, 2, 120),
            "truth": np.random.default_rng(6).choice(["a", "b", "c"], 120, p=[0.8, 0.15, 0.05]),
            "exact": np.random.default_rng(7).random(120),
            "cider": np.random.default_rng(8).random(120),
            "invalid": False,
        }
    )
    found = dict(task_metrics("t", rows, resamples=500, seed=0))
    names = [name for name in found if f"{name}_low" in found]
    assert len(names) == 16 and len(found) == 3 * 16 + 2
    for name in names:
        low, high = found[f"{name}_low"], found[f"{name}_high"]
        assert low < found[name] < high < low + 1


def test_balanced_accuracy_is_the_mean_recall_of_the_categories() -> None:
    balanced_accuracy_score = pytest.importorskip("sklearn.metrics").balanced_accuracy_score
    random = np.random.default_rng(0)
    truth = random.choice(["cell", "platelet", "blast"], 200, p=[0.9, 0.08, 0.02])
    answered = np.where(random.random(200) < 0.7, truth, random.choice(["cell", "platelet", "blast"], 200))
    rows = pd.DataFrame(
        {"content_id": 0, "correct": (truth == answered).astype(float), "truth": truth, "invalid": False}
    )
    assert values("t", rows)["t/balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, answered))


def test_cumulative_iou_weighs_by_area_and_counts_the_union_of_an_unreadable_answer() -> None:
    rows = pd.DataFrame(
        {
            "content_id": ["a", "b"],
            "iou": [0.5, 0.0],
            "intersection": [10.0, 0.0],
            "union": [20.0, 80.0],
            "invalid": [False, True],
        }
    )
    found = values("rec_mask", rows)
    assert found["rec_mask/ciou"] == pytest.approx(0.1)
    assert found["rec_mask/miou"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("oks", {"oks": 0.625, "acc_oks_0.5": 0.5, "acc_oks_mean": 0.5}),
        ("pck", {"pck_0.2": 0.625}),
        ("correct", {"accuracy": 0.625, "balanced_accuracy": 0.625}),
        ("exact", {"exact_match": 0.625}),
        ("cider", {"cider": 0.625}),
    ],
)
def test_a_filled_score_column_is_a_metric(column: str, expected: dict[str, float]) -> None:
    rows = pd.DataFrame({column: [1.0, 0.25], "invalid": [False, False], "iou": [math.nan, math.nan]})
    rows = rows.assign(content_id=["a", "b"], truth=["c", "d"])
    expected |= {"total": 2, "invalid": 0}
    assert values("t", rows) == {f"t/{name}": value for name, value in expected.items()}


def test_a_task_without_rows_has_only_a_total_of_0(box_rows: pd.DataFrame) -> None:
    assert values("rec_box", box_rows[:0]) == {"rec_box/total": 0}


def test_masks_have_the_thresholds_of_referring_segmentation() -> None:
    """Pr@0.5 to Pr@0.9, by hand."""
    rows = pd.DataFrame({"content_id": list("abcd"), "iou": [0.55, 0.65, 0.85, 0.1], "invalid": False})
    found = values("rec_mask", rows.assign(intersection=rows["iou"], union=1.0))
    expected = {"acc_0.5": 0.75, "acc_0.6": 0.5, "acc_0.7": 0.25, "acc_0.8": 0.25, "acc_0.9": 0}
    assert {name: value for name, value in found.items() if "/acc_0" in name} == {
        f"rec_mask/{name}": value for name, value in expected.items()
    }


def test_one_image_has_no_interval(box_rows: pd.DataFrame) -> None:
    found = dict(task_metrics("rec_box", box_rows.assign(content_id="a"), resamples=10, seed=0))
    assert found["rec_box/acc_0.5"] == 0.6 and not [name for name in found if name.endswith(("_low", "_high"))]


def test_only_means_of_answers_can_be_compared_one_by_one() -> None:
    rows = pd.DataFrame({"intersection": [1.0, 2.0], "union": [2.0, 4.0], "iou": [0.5, 0.5], "correct": [1.0, 0.0]})
    rows = rows.assign(
        f1=[1.0, 0.0], perfect=[1.0, 0.0], existence_correct=[1.0, 0.0], num_true=[0, 2], truth=["a", "b"]
    )
    found = {estimate.name: estimate for estimate in task_estimates(rows)}
    assert {name for name, estimate in found.items() if not estimate.is_mean} == {"ciou", "balanced_accuracy"}
    for estimate in found.values():
        if estimate.is_mean:
            counted = estimate.denominators > 0
            assert estimate.value == estimate.numerators[counted].mean()
    assert list(found["n_acc"].denominators) == [1, 0] and list(found["t_acc"].denominators) == [0, 1]
