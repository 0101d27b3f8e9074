"""The tables behind ``dvc plots``: metrics of all tasks, and box accuracy by IoU threshold, kind, size, coverage."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from vilam.evaluation import oracle
from vilam.evaluation.breakdowns import accuracy_by, accuracy_by_coverage, accuracy_by_threshold
from vilam.evaluation.evaluator import Evaluation
from vilam.evaluation.headline import TITLES, headline

CIDER = ("cider", "coco_cider")
"""Metrics from 0 to 10; the others are rates, from 0 to 1, except DIVERSITY."""
DIVERSITY = ("distinct_1", "distinct_2", "num_words", "entropy")
"""Metrics of `diversity`: none of them says how often an answer is right, so they are in no plot of the evaluation."""


def plots(evaluations: Mapping[str, Evaluation]) -> dict[str, pd.DataFrame]:
    """Tables by name, each with a column ``stage`` ("after activate", ...); evaluations by stage, the first one first.

    evaluate_rates, evaluate_cider: stage, metric (``rec_box/acc_0.5``), value, low, high; only strict numbers; low and
    high are missing without an interval. evaluate_iou: stage, threshold, accuracy. evaluate_coverage: stage, coverage,
    accuracy, total. evaluate_kinds: stage, expression_kind, accuracy, total. evaluate_sizes: stage, size, accuracy,
    total. A column's name must not hold a dot: DVC draws nothing of such a column in some of its plots.
    """
    metrics = _metrics({stage: evaluation.metrics for stage, evaluation in evaluations.items()})
    last = metrics["metric"].str.rpartition("/")[2]
    return {
        "evaluate_rates": metrics[~last.isin([*CIDER, *DIVERSITY])],
        "evaluate_cider": metrics[last.isin(CIDER)],
        "evaluate_iou": _stacked(evaluations, accuracy_by_threshold),
        "evaluate_coverage": _stacked(evaluations, accuracy_by_coverage),
        "evaluate_kinds": _stacked(evaluations, lambda rows: accuracy_by(rows, "expression_kind")),
        "evaluate_sizes": _stacked(evaluations, lambda rows: accuracy_by(rows, "size")),
    }


def _metrics(found: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """The headline's metrics of each stage, with their intervals."""
    rows = []
    for row in headline(found):
        name = f"{row.task}/{row.metric}"
        if row.task == oracle.NAME:
            continue
        for stage, metrics in found.items():
            if name in metrics:
                interval = (metrics.get(f"{name}_low"), metrics.get(f"{name}_high"))
                rows.append((TITLES.get(stage, stage), name, metrics[name], *interval))
    return pd.DataFrame(rows, columns=["stage", "metric", "value", "low", "high"])


def _stacked(evaluations: Mapping[str, Evaluation], table: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """The table of each stage's rec_box rows, one below the other."""
    tables = []
    for stage, evaluation in evaluations.items():
        of_stage = table(evaluation.rows[evaluation.rows["task"] == "rec_box"]).rename(columns={"acc_0.5": "accuracy"})
        of_stage.insert(0, "stage", TITLES.get(stage, stage))
        tables.append(of_stage)
    return pd.concat(tables, ignore_index=True)
