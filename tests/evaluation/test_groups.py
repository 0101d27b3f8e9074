"""Answers about groups: their scores, the scores of their boxes, and their ranking, against scipy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, Group, ImageRecord
from vilam.errors import VilamError
from vilam.evaluation.evaluator import Evaluation, evaluate
from vilam.evaluation.groups import area_under_curve, box_scores
from vilam.evaluation.predictions import Prediction
from vilam.tasks import GROUP_TASKS

Records = dict[str, ImageRecord]


@pytest.fixture
def grouped(records: Records) -> Records:
    """Images that each have a group of its star, an empty group, and a group of star and circle."""
    groups = (
        Group("every star", "star", ("star",), "class", "rule"),
        Group("every cat", "cat", (), "class", "rule"),
        Group("both", "the two shapes", ("star", "circle")),
    )
    return {name: replace(record, groups=groups) for name, record in records.items()}


def ask(
    records: Records, task: str, group_id: str, answer: str | None = None, image_id: str = "a", **options: Any
) -> Prediction:
    """A prediction about a group; the true answer if none is passed."""
    record = records[image_id]
    group = record.group(group_id)
    true = GROUP_TASKS[task].answer(record, group)
    name, expression = f"{task}/{image_id}/{group_id}", (group.text, group.kind, group.source)
    asked = Instruction(name, task, "test", image_id, group_id, "?", true, 0, *expression)
    return Prediction(asked, true if answer is None else answer, 0.5, **options)


def run(records: Records, card: DatasetCard, predictions: Sequence[Prediction]) -> Evaluation:
    return evaluate(predictions, records, card, bootstrap=50, seed=0)


def test_true_answers_about_groups_are_perfect(grouped: Records, card: DatasetCard) -> None:
    groups = ("every star", "every cat", "both")
    asked = [ask(grouped, "rec_every", group, coordinates=(0.9,) * 4 * (1 + (group == "both"))) for group in groups]
    asked[1] = replace(asked[1], coordinates=())
    found = run(grouped, card, asked).metrics
    for name in ("f1", "pr_f1", "pr_f1_giou", "n_acc", "t_acc", "ap", "ap_0.5", "ap_0.75"):
        assert found[f"rec_every/{name}"] == pytest.approx(1), name
    assert found["rec_every/total"] == 3 and found["rec_every/invalid"] == 0


def test_wrong_and_unreadable_answers_about_groups_count(grouped: Records, card: DatasetCard) -> None:
    answers = {"every star": "none", "every cat": "1 box: [0, 0, 10, 10]", "both": "??"}
    asked = [ask(grouped, "rec_every", group, answer, coordinates=(0.5,) * 4) for group, answer in answers.items()]
    found = run(grouped, card, asked).metrics
    for name in ("f1", "pr_f1", "pr_f1_giou", "n_acc", "t_acc", "ap"):
        assert found[f"rec_every/{name}"] == 0, name
    assert found["rec_every/invalid"] == pytest.approx(1 / 3)


def test_presence_is_ranked_by_the_probability_of_yes(grouped: Records, card: DatasetCard) -> None:
    asked = [
        ask(grouped, "presence", "every star", "yes", probability=0.8),
        ask(grouped, "presence", "every star", "no", "b", probability=0.6),  # 0.4 of yes
        ask(grouped, "presence", "every cat", "yes", probability=0.5),
        ask(grouped, "presence", "every cat", "no", "b", probability=0.7),  # 0.3 of yes
    ]
    found = run(grouped, card, asked).metrics
    assert found["presence/accuracy"] == 0.5
    assert found["presence/auc"] == 3 / 4  # of the four pairs only 0.4 and 0.5 are in the wrong order
    assert found["presence/auc_low"] <= 3 / 4 <= found["presence/auc_high"]
    same = run(grouped, card, asked[:2]).metrics
    assert "presence/auc" not in same


def test_answers_about_groups_change_no_metric_of_answers_about_regions(
    grouped: Records, card: DatasetCard, predict: Callable[..., Prediction]
) -> None:
    alone = run(grouped, card, [predict("rec_box"), predict("reg_class")]).metrics
    both = run(grouped, card, [predict("rec_box"), ask(grouped, "presence", "both"), predict("reg_class")])
    assert {name: value for name, value in both.metrics.items() if not name.startswith("presence")} == alone
    assert not [name for name in alone if name.startswith(("rec_every", "presence"))]


def test_the_rows_can_be_written_and_read_as_parquet(
    grouped: Records, card: DatasetCard, predict: Callable[..., Prediction], tmp_path: Path
) -> None:
    rows = run(grouped, card, [predict("rec_box"), ask(grouped, "rec_every", "both", coordinates=(0.5,) * 8)]).rows
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    again = pd.read_parquet(tmp_path / "rows.parquet")
    assert [list(map(float, box)) for box in again["true_boxes"][1]] == rows["true_boxes"][1]
    assert again["box_scores"][1].tolist() == pytest.approx([0.5, 0.5])


def test_an_unknown_group_is_reported_in_one_line(grouped: Records, card: DatasetCard) -> None:
    asked = ask(grouped, "presence", "both")
    lost = replace(asked, instruction=replace(asked.instruction, region_id="gone"))
    with pytest.raises(VilamError, match="has no group gone: run synthesize again"):
        run(grouped, card, [lost])


@pytest.mark.parametrize(
    ("coordinates", "count", "expected"),
    [([0.5] * 4 + [0.2, 0.8, 0.2, 0.8], 2, [0.5, 0.4]), ([0.9, 0.4], 1, [0.6]), ([], 0, []), ([0.3, 0.2], 0, [])],
)
def test_the_score_of_a_box_is_the_geometric_mean_of_its_coordinates(
    coordinates: list[float], count: int, expected: list[float]
) -> None:
    assert box_scores(coordinates, count) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_the_area_under_the_curve_is_that_of_mann_and_whitney(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, is_true, times = rng.random(60).round(1), rng.random(60) < 0.4, rng.integers(0, 3, 60)
    repeated = np.repeat(scores, times), np.repeat(is_true, times)
    expected = mannwhitneyu(repeated[0][repeated[1]], repeated[0][~repeated[1]])
    pairs = repeated[1].sum() * (~repeated[1]).sum()
    assert area_under_curve(scores, is_true, times.astype(float)) == pytest.approx(expected.statistic / pairs)
