"""``vilam table``: the metrics of every task after each phase, for the terminal or in Markdown.

`make repro` prints it at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from rich import box
from rich.table import Table

from vilam.commands.text import WIDTH, as_text
from vilam.config import load_settings
from vilam.data.card import read_card
from vilam.evaluation.headline import ORACLE_NOTE, TITLES, HeadlineRow, Metrics, has_oracle, headline
from vilam.files import read_json
from vilam.layout import Layout
from vilam.tracking.address import ui_address

OF_A_MODEL = 12
"""The width of a column of values."""
STRICT_NOTE = "One answer to each question; answers that cannot be parsed are wrong; intervals by resampling images."
"""The protocol in one line."""


def show_table(root: Path, markdown: bool = False) -> None:
    """Print the table of metrics/evaluate.json and where to find the report, or only the table in Markdown.

    Raises VilamError if nothing was evaluated yet.
    """
    layout = Layout(root)
    metrics = read_json(layout.metrics("evaluate"), "evaluate")
    if markdown:
        splits = ", ".join(load_settings(layout.params).evaluate.splits)
        print(markdown_table(metrics, f"{read_card(layout.records).name}, split {splits}"))
        return
    print(summary_table(metrics))
    print(f"report and gallery   {layout.reports / 'index.html'}")
    print(f"runs and models      vilam ui (MLflow on {ui_address()}, Prefect on http://127.0.0.1:4200)")
    print("registered versions  vilam models")
    print("try it               vilam predict IMAGE --locate 'the red disc' --save answer.png")


def summary_table(metrics: Mapping[str, Metrics]) -> str:
    """The headline as text; ``metrics`` by stage ("activate", "train"), as in ``Evaluation.metrics``."""
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("task", "metric"):
        table.add_column(title, no_wrap=True)
    for title in (*(TITLES.get(stage, stage) for stage in metrics), "change", "95 % interval", "invalid", "answers"):
        table.add_column(title, justify="right", no_wrap=True)
    previous = ""
    rows = headline(metrics)
    for row in rows:
        task, _, part = row.task.partition("/")  # a part is below its task
        table.add_row("" if row.task == previous else f"  {part}" if part else task, *_cells(row))
        previous = row.task
    wide = WIDTH + OF_A_MODEL * max(0, len(metrics) - 2)
    return "\n".join([as_text(table, wide), *([ORACLE_NOTE] if has_oracle(rows) else [])])


def markdown_table(metrics: Mapping[str, Metrics], data: str) -> str:
    """The headline in Markdown with its protocol, intervals and counts, for publication.

    data: data set and split, for the line above the table.
    """
    rows = headline(metrics)
    titles = ["task", "metric", *(TITLES.get(stage, stage) for stage in metrics), "95 % interval", "invalid", "answers"]
    lines = [f"{data}. {STRICT_NOTE}", "", _line(titles), _line(["---"] * len(titles))]
    for row in rows:
        name, *values, _, interval, invalid, total = _cells(row)
        lines.append(_line([f"`{row.task}`", f"`{name}`", *values, interval, invalid, total]))
    return "\n".join([*lines, *(["", ORACLE_NOTE] if has_oracle(rows) else [])])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: HeadlineRow) -> list[str]:
    values = ["-" if value is None else f"{value:.3f}" for value in row.values]
    change = "" if row.change is None else f"{row.change:+.3f}"
    interval = "" if row.interval is None else "{:.3f}–{:.3f}".format(*row.interval)
    return [row.metric, *values, change, interval, f"{row.invalid:.1%}", str(row.total)]
