"""Parts of the answers, against numbers worked out by hand."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilam.evaluation.breakdowns import (
    accuracy_by,
    accuracy_by_coverage,
    accuracy_by_threshold,
    breakdown_metrics,
    category_table,
    confusions,
    length_name,
    size_name,
)


def test_categories_are_listed_with_how_often_each_was_the_answer() -> None:
    rows = pd.DataFrame(
        {"category": ["b", "a", "a", "c"], "answer": [" a", "a", " a ", "d"], "correct": [0.0, 1.0, 1.0, 0.0]}
    )
    table = category_table(rows)
    assert table.to_numpy().tolist() == [["a", 2, 1.0, 3], ["b", 1, 0.0, 0], ["c", 1, 0.0, 0]]


names = st.sampled_from(["a", "b", "c", "d", " "])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), names), min_size=1, max_size=30), st.none() | st.integers(1, 3))
def test_confusions_count_every_answer_once(pairs: list[tuple[str, str]], most: int | None) -> None:
    rows = pd.DataFrame(pairs, columns=["category", "answer"]).assign(invalid=[said == " " for _, said in pairs])
    table = confusions(rows, most)
    assert table["count"].sum() == len(pairs)
    assert table.groupby("truth")["share"].sum().tolist() == pytest.approx([1.0] * table["truth"].nunique())
    kept = {*table["truth"], *table["said"]} - {"all others", "unreadable"}
    truths = {truth for truth, _ in pairs}
    assert len(kept) == min(most or 9, len(truths | {said for _, said in pairs if said != " "}))
    assert len(kept & truths) == min(most or 9, len(truths))  # what is true comes first

    def pooled(name: str) -> str:
        return "unreadable" if name == " " else name if most is None or name in kept else "all others"

    expected = Counter((pooled(truth), pooled(said)) for truth, said in pairs)
    found = {(row["truth"], row["said"]): row["count"] for row in table.to_dict("records")}
    assert found == dict(expected)


@pytest.mark.parametrize(
    ("expression", "name"),
    [("", ""), ("dog", "1-2"), ("the dog", "1-2"), ("the big dog", "3-5"), ("a b c d e f", "6-9"), ("a " * 10, "10+")],
)
def test_lengths_are_counted_in_words(expression: str, name: str) -> None:
    assert length_name(expression) == name


def test_breakdowns_add_up_and_leave_out_empty_kinds(box_rows: pd.DataFrame) -> None:
    assert dict(breakdown_metrics("rec_box", box_rows)) == {
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


def test_sizes_are_ordered_from_small_to_large(box_rows: pd.DataFrame) -> None:
    assert list(accuracy_by(box_rows, "size")["size"]) == ["small", "medium", "large"]


def test_accuracy_falls_with_the_threshold(box_rows: pd.DataFrame) -> None:
    curve = accuracy_by_threshold(box_rows)
    assert list(curve["threshold"]) == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert list(curve["accuracy"]) == pytest.approx([0.6] + [0.4] * 8 + [0.2])


def test_accuracy_of_the_most_confident_answers(box_rows: pd.DataFrame) -> None:
    rows = box_rows.assign(confidence=[0.9, 0.5, 0.7, 0.1, 0.8])
    table = accuracy_by_coverage(rows, (0.2, 0.4, 0.5, 1.0))
    assert table.values.tolist() == [[0.2, 1.0, 1], [0.4, 1.0, 2], [0.5, pytest.approx(2 / 3), 3], [1.0, 0.6, 5]]
    assert accuracy_by_coverage(rows[:0]).empty


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_full_coverage_has_the_accuracy_of_all_answers(answers: list[tuple[float, float]]) -> None:
    rows = pd.DataFrame(answers, columns=["iou", "confidence"])
    table = accuracy_by_coverage(rows)
    assert table["acc_0.5"].iloc[-1] == pytest.approx(float((rows["iou"] >= 0.5).mean()))
    assert list(table["total"]) == sorted(table["total"]) and table["total"].iloc[-1] == len(rows)


@pytest.mark.parametrize(("side", "expected"), [(31, "small"), (32, "medium"), (95, "medium"), (96, "large")])
def test_sizes_are_cocos_on_an_image_of_cocos_size(side: int, expected: str) -> None:
    assert size_name(side**2, 640 * 480) == expected
    assert size_name(side**2 / 25, 128 * 96) == expected


def test_without_rows_there_are_no_breakdowns(box_rows: pd.DataFrame) -> None:
    assert dict(breakdown_metrics("rec_box", box_rows[:0])) == {}
