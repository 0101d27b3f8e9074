"""The headline: the metrics of every task after each stage, as rows for the report, the plots and the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vilam.evaluation import oracle
from vilam.evaluation.breakdowns import OF_SPLIT, SEEN, UNSEEN

TITLES = {"zero_shot": "zero-shot", "activate": "after activate", "train": "after train", "other": "another model"}
"""What the report and the tables call the model of each stage, and the model of evaluate.model."""
ORACLE_NOTE = (
    f"{oracle.NAME}: the best of all templates' answers, chosen by the truth: not comparable with strict numbers."
)
"""Shown wherever such a number is."""
COUNTS = ("total", "invalid", "templates")
"""Metrics that have no row of their own."""
OF_PARTS = ("acc_0.5", "oks", "accuracy", "exact_match", "cider", "pr_f1")
"""The metrics of parts of a task's answers that have rows; the others are only in the list of all metrics."""

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class HeadlineRow:
    """One metric of one task, or of a part of its answers.

    values: after each stage, None if a stage has none. The rest is of the last stage. interval: (low, high) of 95 %.
    change: last value minus first; None with one stage. invalid: fraction of unreadable answers, 0 if there is no such
    metric. total: answers that count.
    """

    task: str
    metric: str
    values: tuple[float | None, ...]
    interval: tuple[float, float] | None
    change: float | None
    invalid: float
    total: int


def headline(metrics: Mapping[str, Metrics]) -> list[HeadlineRow]:
    """Rows of all tasks in the order of the last stage's metrics; ``metrics`` by stage, the first stage first."""
    last = list(metrics.values())[-1]
    names = [name.rpartition("/") for name in last]
    return [_row(task, metric, list(metrics.values())) for task, _, metric in names if _is_shown(task, metric)]


def _is_shown(task: str, metric: str) -> bool:
    _, _, part = task.partition("/")
    if part in (SEEN, UNSEEN) or part.startswith(OF_SPLIT):
        return metric in OF_PARTS
    return not part and metric not in COUNTS and not metric.endswith(("_low", "_high"))


def _row(task: str, metric: str, stages: list[Metrics]) -> HeadlineRow:
    name, last = f"{task}/{metric}", stages[-1]
    values = tuple(stage.get(name) for stage in stages)
    low, high = last.get(f"{name}_low"), last.get(f"{name}_high")
    return HeadlineRow(
        task,
        metric,
        values,
        None if low is None or high is None else (low, high),
        None if len(stages) < 2 or values[0] is None else last[name] - values[0],
        last.get(f"{task}/invalid", 0.0),
        int(last.get(f"{task}/total", 0)),
    )


def has_oracle(rows: Iterable[HeadlineRow]) -> bool:
    """Whether the truth chose the answers of one of the rows."""
    return any(row.task == oracle.NAME for row in rows)
