"""``vilam compare A B``: two evaluated models, by paired answers to the same questions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from rich import box
from rich.table import Table

from vilam.commands.text import as_text
from vilam.errors import VilamError
from vilam.evaluation.paired import Scores, paired_difference, scores
from vilam.evaluation.questions import read_rows, version_of_questions
from vilam.layout import ANSWERS, Layout

RESAMPLES = 2000


def compare(first: str, second: str, root: Path) -> None:
    """Print both models' metrics and their differences, second minus first, with 95 % intervals over images.

    Raises VilamError if one has no answers, or the questions differ.
    """
    sources = {"first": first, "second": second}
    rows = {name: read_rows(_predictions(source, root)) for name, source in sources.items()}
    described = [f"{name} {sources[name]}: {_questions(rows[name])}" for name in sources]
    tasks = set.intersection(*({*each["task"]} for each in rows.values()))
    if len({version_of_questions(each[each["task"].isin(tasks)]) for each in rows.values()}) > 1:
        raise VilamError(f"compare: asked different questions: {'; '.join(described)}: evaluate both on the same data")
    print("\n".join(described))
    print(comparison_table(*(scores(each) for each in rows.values())))


def _questions(rows: pd.DataFrame) -> str:
    return f"{len(rows)} questions on {rows['image_id'].nunique()} images, test data {version_of_questions(rows)}"


def comparison_table(first: Scores, second: Scores) -> str:
    """A row for each metric that both have; a star marks a difference whose interval excludes zero."""
    shared = [name for name in first if name in second]
    if not shared:
        raise VilamError("compare: the two have no task in common: evaluate both on the same data")
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("metric", "first", "second", "second - first", "95 % interval", "", "answers"):
        table.add_column(title, justify="left" if title == "metric" else "right", no_wrap=True)
    for name in shared:
        table.add_row(*_row(name, first[name], second[name]))
    return as_text(table)


def _row(name: str, first: pd.DataFrame, second: pd.DataFrame) -> Iterator[str]:
    difference = paired_difference([second], [first], RESAMPLES, seed=0)
    yield name
    yield from (f"{each['value'].mean():.3f}" for each in (first, second))
    yield f"{difference.mean:+.3f}"
    yield f"{difference.low:+.3f} to {difference.high:+.3f}"
    yield "*" if difference.excludes_zero else ""
    yield str(len(first))


def _predictions(source: str, root: Path) -> Path:
    """The answers of a file, a project folder, a run or a registered model."""
    path = Path(source)
    if path.is_dir():
        path = Layout(path).answers("train")
        if not path.is_file():
            raise VilamError(f"{path}: not found: run vilam evaluate in {source}")
    if path.is_file():
        return path
    from vilam.tracking.registry import download_artifact

    return download_artifact(source, ANSWERS, root)
