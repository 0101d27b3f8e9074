"""The tables behind ``dvc plots``: metrics of all tasks, and box accuracy by IoU threshold, kind, size, coverage."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from vilam.evaluation import oracle
from vilam.evaluation.breakdowns import accuracy_by, accuracy_by_coverage, accuracy_by_threshold
from vilam.evaluation.evaluator import Evaluation
from vilam.evaluation.headline import TITLES, headline


def plots(evaluations: Mapping[str, Evaluation]) -> dict[str, pd.DataFrame]:
    """Tables by name, each with a column ``stage`` ("after activate", ...); evaluations by stage, the first one first.

    evaluate_tasks: stage, metric (``rec_box/acc_0.5``), value; only strict numbers.
    evaluate_iou: stage, threshold, accuracy. evaluate_coverage: stage, coverage, acc_0.5, total.
    evaluate_kinds: stage, expression_kind, acc_0.5, total. evaluate_sizes: stage, size, acc_0.5, total.
    """
    found = {stage: evaluation.metrics for stage, evaluation in evaluations.items()}
    tasks = [
        (TITLES.get(stage, stage), f"{row.task}/{row.metric}", value)
        for row in headline(found)
        for stage, value in zip(found, row.values, strict=True)
        if value is not None and row.task != oracle.NAME
    ]
    return {
        "evaluate_tasks": pd.DataFrame(tasks, columns=["stage", "metric", "value"]),
        "evaluate_iou": _stacked(evaluations, accuracy_by_threshold),
        "evaluate_coverage": _stacked(evaluations, accuracy_by_coverage),
        "evaluate_kinds": _stacked(evaluations, lambda rows: accuracy_by(rows, "expression_kind")),
        "evaluate_sizes": _stacked(evaluations, lambda rows: accuracy_by(rows, "size")),
    }


def _stacked(evaluations: Mapping[str, Evaluation], table: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """The table of each stage's rec_box rows, one below the other."""
    tables = []
    for stage, evaluation in evaluations.items():
        of_stage = table(evaluation.rows[evaluation.rows["task"] == "rec_box"])
        of_stage.insert(0, "stage", TITLES.get(stage, stage))
        tables.append(of_stage)
    return pd.concat(tables, ignore_index=True)
