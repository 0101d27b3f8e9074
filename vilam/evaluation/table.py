"""The headline: every task's metrics after each step, as rows for the report and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

from vilam.evaluation import oracle
from vilam.evaluation.metrics import OF_SPLIT, SEEN, UNSEEN

STEPS = {"activate": "after step 1", "train": "after step 2", "other": "another model"}
"""What people call the model that a stage leaves, and one of elsewhere."""
ORACLE_NOTE = (
    f"{oracle.NAME}: the best of all templates' answers, chosen by the truth: not comparable with strict numbers."
)
"""Stands wherever such a number does."""
STRICT_NOTE = "One question and one answer each; what cannot be read is wrong; intervals by drawing images."
"""The protocol, in a line."""
COUNTS = ("total", "invalid", "templates")
"""Metrics that tell of others."""
OF_PARTS = ("acc_0.5", "oks", "accuracy", "exact_match", "cider", "pr_f1")
"""Metrics that parts of a task's answers have rows of; all that they have stand among all metrics."""
WIDTH = 120

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class HeadlineRow:
    """One metric of one task, or of a part of its answers: its value after each step (None where it has none), and of
    the last step the rest.

    interval: (low, high) of 95 %. change: last value less first; None with one step. invalid: share of unreadable
    answers, 0 where the metric tells of none. total: answers counted.
    """

    task: str
    metric: str
    values: tuple[float | None, ...]
    interval: tuple[float, float] | None
    change: float | None
    invalid: float
    total: int


def headline(metrics: Mapping[str, Metrics]) -> list[HeadlineRow]:
    """Rows of all tasks in the order of the last step's metrics; ``metrics`` by stage, first step first."""
    last = list(metrics.values())[-1]
    names = [name.rpartition("/") for name in last]
    return [_row(task, metric, list(metrics.values())) for task, _, metric in names if _leads(task, metric)]


def _leads(task: str, metric: str) -> bool:
    _, _, part = task.partition("/")
    if part in (SEEN, UNSEEN) or part.startswith(OF_SPLIT):
        return metric in OF_PARTS
    return not part and metric not in COUNTS and not metric.endswith(("_low", "_high"))


def _row(task: str, metric: str, steps: list[Metrics]) -> HeadlineRow:
    name, last = f"{task}/{metric}", steps[-1]
    values = tuple(step.get(name) for step in steps)
    low, high = last.get(f"{name}_low"), last.get(f"{name}_high")
    return HeadlineRow(
        task,
        metric,
        values,
        None if low is None or high is None else (low, high),
        None if len(steps) < 2 or values[0] is None else last[name] - values[0],
        last.get(f"{task}/invalid", 0.0),
        int(last.get(f"{task}/total", 0)),
    )


def summary_table(metrics: Mapping[str, Metrics]) -> str:
    """The headline as text; ``metrics`` by stage ("activate", "train"), as in ``Evaluation.metrics``."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("task", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    for stage in metrics:
        table.add_column(STEPS.get(stage, stage), justify="right", no_wrap=True)
    for title in ("change", "95 % interval", "invalid", "answers"):
        table.add_column(title, justify="right", no_wrap=True)
    previous = ""
    rows = headline(metrics)
    for row in rows:
        table.add_row("" if row.task == previous else _short(row.task), *_cells(row))
        previous = row.task
    return "\n".join([as_text(table), *([ORACLE_NOTE] if has_oracle(rows) else [])])


def _short(task: str) -> str:
    """A task's name; that of a part of its answers without the task, which stands above."""
    name, _, part = task.partition("/")
    return f"  {part}" if part else name


def markdown_table(metrics: Mapping[str, Metrics], where: str) -> str:
    """The headline in Markdown, to be pasted beside numbers of others: with its protocol, intervals and counts.

    where: data set and split, for the line above the table.
    """
    rows = headline(metrics)
    titles = ["task", "metric", *(STEPS.get(stage, stage) for stage in metrics), "95 % interval", "invalid", "answers"]
    lines = [f"{where}. {STRICT_NOTE}", "", _line(titles), _line(["---"] * len(titles))]
    for row in rows:
        name, *values, _, interval, invalid, total = _cells(row)
        lines.append(_line([f"`{row.task}`", f"`{name}`", *values, interval, invalid, total]))
    return "\n".join([*lines, *(["", ORACLE_NOTE] if has_oracle(rows) else [])])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def has_oracle(rows: Iterable[HeadlineRow]) -> bool:
    """Whether a number among them was chosen by the truth."""
    return any(row.task == oracle.NAME for row in rows)


def _cells(row: HeadlineRow) -> list[str]:
    values = ["-" if value is None else f"{value:.3f}" for value in row.values]
    change = "" if row.change is None else f"{row.change:+.3f}"
    interval = "" if row.interval is None else "{:.3f}–{:.3f}".format(*row.interval)
    return [row.metric, *values, change, interval, f"{row.invalid:.1%}", str(row.total)]


def as_text(table: Table) -> str:
    """A table for the terminal, without colours."""
    console = Console(file=StringIO(), width=WIDTH)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines() if line.strip())
