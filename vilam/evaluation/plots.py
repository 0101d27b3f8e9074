"""The tables behind ``dvc plots``: each task's metrics, and box accuracy by IoU threshold, expression kind and size."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from vilam.evaluation import metrics, oracle
from vilam.evaluation.evaluator import Evaluation
from vilam.evaluation.table import STEPS, headline


def plots(evaluations: Mapping[str, Evaluation]) -> dict[str, pd.DataFrame]:
    """Tables by name, each with a column ``step`` ("after step 1", ...); evaluations by stage, first step first.

    evaluate_tasks: step, metric (``rec_box/acc_0.5``), value; strict ones alone.
    evaluate_iou: step, threshold, accuracy. evaluate_coverage: step, coverage, acc_0.5, total.
    evaluate_kinds: step, expression_kind, acc_0.5, total. evaluate_sizes: step, size, acc_0.5, total.
    """
    return {
        "evaluate_tasks": _tasks({stage: evaluation.metrics for stage, evaluation in evaluations.items()}),
        "evaluate_iou": _stacked(evaluations, metrics.accuracy_by_threshold),
        "evaluate_coverage": _stacked(evaluations, metrics.accuracy_by_coverage),
        "evaluate_kinds": _stacked(evaluations, lambda rows: metrics.accuracy_by(rows, "expression_kind")),
        "evaluate_sizes": _stacked(evaluations, lambda rows: metrics.accuracy_by(rows, "size")),
    }


def _tasks(found: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    rows = [
        (STEPS.get(stage, stage), f"{row.task}/{row.metric}", value)
        for row in headline(found)
        for stage, value in zip(found, row.values, strict=True)
        if value is not None and row.task != oracle.NAME
    ]
    return pd.DataFrame(rows, columns=["step", "metric", "value"])


def _stacked(evaluations: Mapping[str, Evaluation], table: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """The table of each step's rec_box rows, one below the other."""
    tables = []
    for stage, evaluation in evaluations.items():
        of_step = table(evaluation.rows[evaluation.rows["task"] == "rec_box"])
        of_step.insert(0, "step", STEPS.get(stage, stage))
        tables.append(of_step)
    return pd.concat(tables, ignore_index=True)
