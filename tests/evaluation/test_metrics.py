"""Metrics on made-up rows, against numbers worked out by hand or by another formula."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilam.evaluation import metrics


def box_rows() -> pd.DataFrame:
    """Five answers on three images; one of them unreadable, one at the threshold itself."""
    return pd.DataFrame(
        {
            "picture": ["a", "a", "b", "b", "c"],
            "iou": [1.0, 0.5, 0.49, 0.0, 0.9],
            "invalid": [False, False, False, True, False],
            "expression_kind": ["order", "position", "position", "order", ""],
            "expression_length": ["1-2", "10+", "3-5", "1-2", ""],
            "size": ["large", "small", "medium", "large", "small"],
        }
    )


def values(task: str, rows: pd.DataFrame) -> dict[str, float]:
    """The metrics of a task without their intervals."""
    found = metrics.task_metrics(task, rows, draws=10, seed=0)
    return {name: value for name, value in found if not name.endswith(("_low", "_high"))}


def test_a_box_task_counts_every_answer() -> None:
    expected = {"total": 5, "invalid": 0.2, "acc_0.5": 0.6, "acc_0.75": 0.4, "acc_0.9": 0.4, "miou": 2.89 / 5}
    expected["acc_mean"] = (0.6 + 0.4 * 8 + 0.2) / 10
    assert values("rec_box", box_rows()) == pytest.approx({f"rec_box/{name}": each for name, each in expected.items()})


def test_every_metric_has_an_interval_around_it() -> None:
    rows = pd.DataFrame(
        {
            "picture": np.repeat(np.arange(40), 3),
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
    found = dict(metrics.task_metrics("t", rows, draws=500, seed=0))
    names = [name for name in found if f"{name}_low" in found]
    assert len(names) == 16 and len(found) == 3 * 16 + 2
    for name in names:
        low, high = found[f"{name}_low"], found[f"{name}_high"]
        assert low < found[name] < high < low + 1


def test_the_interval_is_that_of_drawing_images_by_hand() -> None:
    """Of a mean, of a sum over a sum, and of a mean over categories, one draw after the other."""
    random = np.random.default_rng(3)
    images, over, under = random.integers(0, 12, 90), random.random(90), 1 + random.random(90)
    kinds = random.choice(["a", "b", "c"], 90, p=[0.8, 0.17, 0.03])
    draws = np.random.default_rng(5)
    found: list[tuple[float, float, float]] = []
    for _ in range(200):
        chosen = draws.integers(0, 12, 12)
        rows = np.concatenate([np.flatnonzero(images == image) for image in chosen])
        of_kinds = [over[rows][kinds[rows] == kind].mean() for kind in sorted({*kinds[rows]})]
        found.append((over[rows].mean(), over[rows].sum() / under[rows].sum(), float(np.mean(of_kinds))))
    bootstrap = metrics.Bootstrap(images, draws=200, seed=5)
    estimates = [
        metrics.mean_of("mean", over),
        metrics.Estimate("ratio", over, under, np.zeros(90, int)),
        metrics.mean_of("balanced", over, kinds.tolist()),
    ]
    for number, estimate in enumerate(estimates):
        expected = np.percentile([each[number] for each in found], [2.5, 97.5])
        assert bootstrap.interval(estimate) == pytest.approx(tuple(expected))


def test_balanced_accuracy_is_the_mean_recall_of_the_categories() -> None:
    balanced_accuracy_score = pytest.importorskip("sklearn.metrics").balanced_accuracy_score
    random = np.random.default_rng(0)
    truth = random.choice(["cell", "platelet", "blast"], 200, p=[0.9, 0.08, 0.02])
    said = np.where(random.random(200) < 0.7, truth, random.choice(["cell", "platelet", "blast"], 200))
    rows = pd.DataFrame({"picture": 0, "correct": (truth == said).astype(float), "truth": truth, "invalid": False})
    assert values("t", rows)["t/balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, said))


def test_categories_stand_with_what_was_said() -> None:
    rows = pd.DataFrame(
        {"category": ["b", "a", "a", "c"], "answer": [" a", "a", " a ", "d"], "correct": [0.0, 1.0, 1.0, 0.0]}
    )
    table = metrics.category_table(rows)
    assert table.to_numpy().tolist() == [["a", 2, 1.0, 3], ["b", 1, 0.0, 0], ["c", 1, 0.0, 0]]


@pytest.mark.parametrize(
    ("expression", "name"),
    [("", ""), ("dog", "1-2"), ("the dog", "1-2"), ("the big dog", "3-5"), ("a b c d e f", "6-9"), ("a " * 10, "10+")],
)
def test_lengths_are_counted_in_words(expression: str, name: str) -> None:
    assert metrics.length_name(expression) == name


def test_cumulative_iou_weighs_by_area_and_counts_the_union_of_an_unreadable_answer() -> None:
    rows = pd.DataFrame(
        {
            "picture": ["a", "b"],
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
    rows = rows.assign(picture=["a", "b"], truth=["c", "d"])
    expected |= {"total": 2, "invalid": 0}
    assert values("t", rows) == {f"t/{name}": value for name, value in expected.items()}


def test_a_task_without_rows_has_a_total_of_nothing_and_no_nan() -> None:
    assert values("rec_box", box_rows()[:0]) == {"rec_box/total": 0}
    assert dict(metrics.breakdown_metrics("rec_box", box_rows()[:0])) == {}
    assert dict(metrics.round_trip_metrics(pd.DataFrame(), 5, 0)) == {}


def test_breakdowns_add_up_and_leave_nameless_kinds_out() -> None:
    assert dict(metrics.breakdown_metrics("rec_box", box_rows())) == {
        "rec_box/kind_order/acc_0.5": 0.5,
        "rec_box/kind_order/total": 2,
        "rec_box/kind_position/acc_0.5": 0.5,
        "rec_box/kind_position/total": 2,
        "rec_box/length_1-2/acc_0.5": 0.5,
        "rec_box/length_1-2/total": 2,
        "rec_box/length_3-5/acc_0.5": 0,
        "rec_box/length_3-5/total": 1,
        "rec_box/length_10+/acc_0.5": 1,
        "rec_box/length_10+/total": 1,
        "rec_box/size_small/acc_0.5": 1,
        "rec_box/size_small/total": 2,
        "rec_box/size_medium/acc_0.5": 0,
        "rec_box/size_medium/total": 1,
        "rec_box/size_large/acc_0.5": 0.5,
        "rec_box/size_large/total": 2,
    }


def test_sizes_stand_from_small_to_large() -> None:
    assert list(metrics.accuracy_by(box_rows(), "size")["size"]) == ["small", "medium", "large"]


def test_accuracy_falls_with_the_threshold() -> None:
    curve = metrics.accuracy_by_threshold(box_rows())
    assert list(curve["threshold"]) == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert list(curve["accuracy"]) == pytest.approx([0.6] + [0.4] * 8 + [0.2])


def test_the_surest_answers_stand_alone() -> None:
    rows = box_rows().assign(confidence=[0.9, 0.5, 0.7, 0.1, 0.8])
    table = metrics.accuracy_by_coverage(rows, (0.2, 0.4, 0.5, 1.0))
    assert table.values.tolist() == [[0.2, 1.0, 1], [0.4, 1.0, 2], [0.5, pytest.approx(2 / 3), 3], [1.0, 0.6, 5]]
    assert metrics.accuracy_by_coverage(rows[:0]).empty


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_all_answers_together_have_the_accuracy_of_all(answers: list[tuple[float, float]]) -> None:
    rows = pd.DataFrame(answers, columns=["iou", "confidence"])
    table = metrics.accuracy_by_coverage(rows)
    assert table["acc_0.5"].iloc[-1] == pytest.approx(float((rows["iou"] >= 0.5).mean()))
    assert list(table["total"]) == sorted(table["total"]) and table["total"].iloc[-1] == len(rows)


def test_round_trips_leave_out_regions_that_took_no_part() -> None:
    rows = pd.DataFrame({"round_trip_iou": [0.8, math.nan, 0.2, 0.5], "picture": list("abcd")})
    found = dict(metrics.round_trip_metrics(rows, 50, 0))
    values = {"cycle/round_trip_iou": 0.5, "cycle/round_trip_acc_0.5": 2 / 3, "cycle/total": 3}
    assert {name: found[name] for name in values} == pytest.approx(values)
    low, high = metrics.bootstrap_interval([0.8, 0.2, 0.5], list("acd"), 50, 0)
    assert (found["cycle/round_trip_iou_low"], found["cycle/round_trip_iou_high"]) == (low, high)


@pytest.mark.parametrize(("side", "expected"), [(31, "small"), (32, "medium"), (95, "medium"), (96, "large")])
def test_sizes_are_cocos_on_an_image_of_cocos_size(side: int, expected: str) -> None:
    assert metrics.size_name(side**2, 640 * 480) == expected
    assert metrics.size_name(side**2 / 25, 128 * 96) == expected


def test_the_interval_is_that_of_the_normal_approximation_where_images_are_independent() -> None:
    hits = np.arange(2000) % 4 == 0
    low, high = metrics.bootstrap_interval(hits, np.arange(2000), draws=2000, seed=1)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 2000)
    assert (low, high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.002)


def test_the_interval_is_wider_where_answers_on_one_image_agree() -> None:
    hits = np.arange(400) % 4 == 0
    alone = metrics.bootstrap_interval(hits, np.arange(400), draws=300, seed=1)
    together = metrics.bootstrap_interval(np.repeat(hits[:40], 10), np.repeat(np.arange(40), 10), draws=300, seed=1)
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=30), st.integers(0, 9))
def test_the_interval_repeats_and_stays_within_the_values(answers: list[tuple[float, int]], seed: int) -> None:
    values, groups = zip(*answers, strict=True)
    low, high = metrics.bootstrap_interval(values, groups, draws=20, seed=seed)
    assert (low, high) == metrics.bootstrap_interval(values, groups, draws=20, seed=seed)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_outlines_are_told_at_the_thresholds_of_referring_segmentation() -> None:
    """Pr@0.5 to Pr@0.9, by hand."""
    rows = pd.DataFrame({"picture": list("abcd"), "iou": [0.55, 0.65, 0.85, 0.1], "invalid": False})
    found = values("rec_mask", rows.assign(intersection=rows["iou"], union=1.0))
    expected = {"acc_0.5": 0.75, "acc_0.6": 0.5, "acc_0.7": 0.25, "acc_0.8": 0.25, "acc_0.9": 0}
    assert {name: value for name, value in found.items() if "/acc_0" in name} == {
        f"rec_mask/{name}": value for name, value in expected.items()
    }


def test_of_one_image_there_is_no_interval() -> None:
    found = dict(metrics.task_metrics("rec_box", box_rows().assign(picture="a"), draws=10, seed=0))
    assert found["rec_box/acc_0.5"] == 0.6 and not [name for name in found if name.endswith(("_low", "_high"))]
