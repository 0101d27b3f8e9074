"""The report: one HTML page with the metrics, charts and every answer of each model, which opens without a network."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vilam.data.records import DatasetCard
from vilam.errors import VilamError
from vilam.evaluation import charts, dialogue, oracle, panels, round_trips
from vilam.evaluation.evaluator import Evaluation
from vilam.evaluation.gallery import pictures
from vilam.evaluation.headline import ORACLE_NOTE, TITLES, has_oracle, headline
from vilam.evaluation.panels import Rows
from vilam.evaluation.viewer import NOTHING, viewer
from vilam.inference.answering import Records
from vilam.tasks import ALL_TASKS, TASKS

TEMPLATES = Path(__file__).parent / "templates"
PAGE = "index.html"
BYTES = 9_500_000
"""The size of the page, at most; pictures are scaled to fit, and left out if that is not enough."""
PATHS = {
    round_trips.NAME: "region → expression → region",
    dialogue.NAME: "expression → region → category",
    oracle.NAME: "expression → region, not comparable with strict rows",
}
"""What the rows without a task measure."""


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
    """Writes ``index.html``, which holds all that it shows, and drawn answers in ``gallery/``; returns the page's path.

    evaluations: by stage, the first stage first. gallery: the largest number of pictures per task in that folder; the
    page has all answers. facts: shown under the title. Texts of the data are escaped. Raises VilamError if the folder
    cannot be written.
    """
    drawn = pictures([*evaluations.values()][-1].rows, records, card, gallery, seed)
    page = report_page(evaluations, records, card, title, facts, seed)
    return _write(folder, page, {f"{name}.jpg": picture for name, picture in drawn})


def report_page(
    evaluations: Mapping[str, Evaluation],
    records: Records,
    card: DatasetCard,
    title: str,
    facts: Mapping[str, str],
    seed: int = 0,
) -> str:
    """The page as text of BYTES at most; see `write_report`."""
    rows = {TITLES.get(stage, stage): evaluation.rows for stage, evaluation in evaluations.items()}
    metrics = {stage: evaluation.metrics for stage, evaluation in evaluations.items()}
    boxes, classes = _of_task(rows, "rec_box"), _of_task(rows, "reg_class")
    results = headline(metrics)
    content = {
        "title": title,
        "facts": facts,
        "columns": [*rows],
        "headline": results,
        "oracle_note": ORACLE_NOTE if has_oracle(results) else "",
        "directions": {name: task.direction for name, task in ALL_TASKS.items()},
        "paths": PATHS,
        "absent": [task for task in TASKS if not [*metrics.values()][-1].get(f"{task}/total")],
        "error_panels": list(panels.error_panels(boxes)) if boxes else [],
        "errors": panels.error_table(boxes),
        "box_panels": list(panels.box_panels(boxes)) if boxes else [],
        "class_panels": list(panels.class_panels(classes)),
        "confusions": panels.confusion_table(classes),
        "categories": panels.category_rows(boxes, classes),
        "all_metrics": _all_metrics(metrics),
        "library": charts.library(),
    }
    space = BYTES - len(_render(**content, viewer=NOTHING).encode("utf-8"))
    return _render(**content, viewer=viewer(rows, records, card, space, seed))


def _of_task(rows: Rows, task: str) -> Rows:
    """The answers to a task, by the model's title; none if a model has no answers to it."""
    found = {title: frame[frame["task"] == task] for title, frame in rows.items()}
    return {} if any(frame.empty for frame in found.values()) else found


def _all_metrics(metrics: Mapping[str, Mapping[str, float]]) -> list[tuple[str, list[float | None]]]:
    names = dict.fromkeys(name for of_stage in metrics.values() for name in of_stage)
    return [(name, [of_stage.get(name) for of_stage in metrics.values()]) for name in names]


def _render(**content: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template("report.html").render(content)


def _write(folder: Path, page: str, drawn: Mapping[str, bytes]) -> Path:
    """Writes the pictures first and the page last, and removes the pictures of an earlier report."""
    try:
        shutil.rmtree(folder / "gallery", ignore_errors=True)
        (folder / "gallery").mkdir(parents=True)
        for name, picture in drawn.items():
            (folder / "gallery" / name).write_bytes(picture)
        (folder / PAGE).write_text(page, encoding="utf-8")
    except OSError as error:
        advice = "check its permissions and the free space"
        raise VilamError(f"{folder}: the report could not be written: {error.strerror}: {advice}") from None
    return folder / PAGE
