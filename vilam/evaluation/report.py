"""The report: one HTML page with the metrics of every task after each stage, breakdowns and a gallery."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vilam.data.records import DatasetCard
from vilam.errors import VilamError
from vilam.evaluation import dialogue, oracle, round_trips
from vilam.evaluation.breakdowns import accuracy_by, accuracy_by_coverage, accuracy_by_threshold, category_table
from vilam.evaluation.evaluator import Evaluation
from vilam.evaluation.gallery import Exhibit, exhibits
from vilam.evaluation.headline import ORACLE_NOTE, TITLES, has_oracle, headline
from vilam.inference.answering import Records
from vilam.tasks import ALL_TASKS, TASKS

TEMPLATES = Path(__file__).parent / "templates"
PAGE = "index.html"
PATHS = {
    round_trips.NAME: "region → expression → region",
    dialogue.NAME: "expression → region → category",
    oracle.NAME: "expression → region, not comparable with strict rows",
}
"""What the rows without a task measure."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Accuracy by group: rows of (group, answers, accuracy after each stage)."""

    title: str
    note: str
    rows: list[tuple[str, int, list[float | None]]]


def write_report(
    folder: Path,
    evaluations: Mapping[str, Evaluation],
    records: Records,
    card: DatasetCard,
    *,
    gallery: int,
    title: str,
    facts: Mapping[str, str],
    seed: int = 0,
) -> Path:
    """Writes ``index.html``, which embeds its pictures, and the same pictures in ``gallery/``; returns the page's path.

    evaluations: by stage, the first stage first; the gallery shows the last stage's answers beside those of the stage
    before. gallery: the largest number of pictures per task. facts: shown under the title. Texts of the data are
    escaped. Raises VilamError if the folder cannot be written.
    """
    stages = list(evaluations)
    rows = {stage: evaluation.rows for stage, evaluation in evaluations.items()}
    before = rows[stages[-2]] if len(stages) > 1 else None
    shown = list(exhibits(rows[stages[-1]], before, records, card, gallery, seed))
    named = {f"{name}.jpg": exhibit.picture for name, exhibit in zip(_names(shown), shown, strict=True)}
    results = headline({stage: evaluation.metrics for stage, evaluation in evaluations.items()})
    page = _render(
        title=title,
        facts=facts,
        columns=[TITLES.get(stage, stage) for stage in stages],
        headline=results,
        oracle_note=ORACLE_NOTE if has_oracle(results) else "",
        directions={name: task.direction for name, task in ALL_TASKS.items()},
        paths=PATHS,
        absent=[task for task in TASKS if not evaluations[stages[-1]].metrics.get(f"{task}/total")],
        curves=[accuracy_by_threshold(frame).values.tolist() for frame in _boxes(rows)],
        breakdowns=list(_breakdowns(rows)),
        categories=_categories(rows[stages[-1]]),
        exhibits=_by_task(shown, list(named)),
        all_metrics=_all_metrics(evaluations),
    )
    return _write(folder, page, named)


def _names(shown: list[Exhibit]) -> Iterator[str]:
    for (task, group), members in groupby(shown, key=lambda exhibit: (exhibit.task, exhibit.group)):
        yield from (f"{task}_{group}_{number:02d}" for number, _ in enumerate(members, start=1))


def _boxes(rows: Mapping[str, pd.DataFrame]) -> list[pd.DataFrame]:
    found = [frame[frame["task"] == "rec_box"] for frame in rows.values()]
    return [] if any(frame.empty for frame in found) else found


def _breakdowns(rows: Mapping[str, pd.DataFrame]) -> Iterator[Breakdown]:
    kinds = "What distinguishes the region from the others."
    sizes = "Small: box under 1/300 of the image; large: from 3/100 (COCO's limits at 640 × 480)."
    lengths = "Words of the expression."
    for column, title, note in (
        ("expression_kind", "By expression kind", kinds),
        ("expression_length", "By expression length", lengths),
        ("size", "By object size", sizes),
        ("seen", "By whether the category was trained on", "Unseen ones were held out by prepare.unseen."),
        *([("split", "By split", "")] if any(frame["split"].nunique() > 1 for frame in _boxes(rows)) else []),
    ):
        yield from _breakdown(title, note, [accuracy_by(frame, column) for frame in _boxes(rows)], str)
    confident = "Only the most confident answers: level if the confidence is of no use."
    tables = [accuracy_by_coverage(frame) for frame in _boxes(rows)]
    yield from _breakdown("By confidence", confident, tables, lambda coverage: f"top {coverage:.0%}")


def _breakdown(title: str, note: str, tables: list[pd.DataFrame], label: Callable[[Any], str]) -> Iterator[Breakdown]:
    """From one table per stage, with the groups in the first column; none if the last table has no rows."""
    named = [table.set_index(table.columns[0]) for table in tables]
    if named and len(named[-1]):
        groups = named[-1]["total"].items()
        yield Breakdown(title, note, [(label(name), int(total), _accuracies(named, name)) for name, total in groups])


def _categories(rows: pd.DataFrame) -> list[tuple[Any, ...]]:
    """The rows of `category_table`, of the last stage's answers."""
    named = rows[rows["task"] == "reg_class"]
    return [] if named.empty else list(category_table(named).itertuples(index=False, name=None))


def _accuracies(tables: list[pd.DataFrame], name: object) -> list[float | None]:
    return [float(table["acc_0.5"].to_dict()[name]) if name in table.index else None for table in tables]


def _by_task(shown: list[Exhibit], names: list[str]) -> dict[str, list[tuple[str, list[tuple[str, Exhibit]]]]]:
    """Task -> groups in order -> (file name, exhibit)."""
    pairs = list(zip(names, shown, strict=True))
    tasks = groupby(pairs, key=lambda pair: pair[1].task)
    return {
        task: [(group, list(members)) for group, members in groupby(of_task, key=lambda pair: pair[1].group)]
        for task, of_task in tasks
    }


def _all_metrics(evaluations: Mapping[str, Evaluation]) -> list[tuple[str, list[float | None]]]:
    found = [evaluation.metrics for evaluation in evaluations.values()]
    names = dict.fromkeys(name for of_stage in found for name in of_stage)
    return [(name, [of_stage.get(name) for of_stage in found]) for name in names]


def _render(**content: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = lambda jpeg: f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
    return environment.get_template("report.html").render(content)


def _write(folder: Path, page: str, pictures: Mapping[str, bytes]) -> Path:
    """Writes the pictures first and the page last, and removes the pictures of an earlier report."""
    try:
        shutil.rmtree(folder / "gallery", ignore_errors=True)
        (folder / "gallery").mkdir(parents=True)
        for name, picture in pictures.items():
            (folder / "gallery" / name).write_bytes(picture)
        (folder / PAGE).write_text(page, encoding="utf-8")
    except OSError as error:
        advice = "check its permissions and the free space"
        raise VilamError(f"{folder}: the report could not be written: {error.strerror}: {advice}") from None
    return folder / PAGE
