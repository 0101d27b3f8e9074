"""The charts and tables of the report, from the rows of each model; a click on a mark shows the answers it counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pandas as pd

from vilam.evaluation import charts
from vilam.evaluation.breakdowns import (
    OTHERS,
    UNREADABLE,
    accuracy_by,
    accuracy_by_coverage,
    accuracy_by_threshold,
    category_table,
    confusions,
)
from vilam.evaluation.error_kinds import DEFINITIONS, KINDS

Rows = Mapping[str, pd.DataFrame]
"""``Evaluation.rows`` by the title of the model, the last model last."""

MOST_CATEGORIES = 20
"""Categories of a chart; tables have all."""
MOST_CONFUSIONS = 30
"""Rows of the table of confusions."""
SIZES_NOTE = "Small: box under 1/300 of the image; large: from 3/100 (COCO's limits at 640 × 480)."
BREAKDOWNS = (
    ("expression_kind", "kind", "By expression kind", "What distinguishes the region from the others."),
    ("expression_length", "", "By expression length", "Words of the expression."),
    ("size", "size", "By object size", SIZES_NOTE),
    ("seen", "", "By whether the category was trained on", "Unseen ones were held out by prepare.unseen."),
    ("split", "split", "By split", ""),
    ("category", "category", "By category", f"The {MOST_CATEGORIES} most frequent at most; the table below has all."),
)
"""Column, its name in the filters of the page's script (or ""), title and note."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart with its title and a sentence about it."""

    title: str
    note: str
    chart: charts.Spec


def box_panels(boxes: Rows) -> Iterator[Panel]:
    """Accuracy of rec_box by IoU threshold, by confidence, and by group."""
    curves = {title: accuracy_by_threshold(frame) for title, frame in boxes.items()}
    yield Panel("By IoU threshold", "How tight the boxes are.", _lines(curves, "threshold", "accuracy"))
    curves = {title: accuracy_by_coverage(frame).rename(columns=_plain) for title, frame in boxes.items()}
    note = "The most confident answers alone, from a tenth to all: level if the confidence is of no use."
    yield Panel("By confidence", note, _lines(curves, "coverage", "acc"))
    for column, name, title, note in BREAKDOWNS:
        groups = [frame[column].nunique() for frame in boxes.values()]
        if column != "split" or max(groups) > 1:
            yield from _breakdown(boxes, column, name, Panel(title, note, {}))


def _breakdown(boxes: Rows, column: str, name: str, panel: Panel) -> Iterator[Panel]:
    tables = [accuracy_by(frame, column) for frame in boxes.values()]
    groups = tables[-1]
    if column == "category":
        groups = groups.sort_values(["total", column], ascending=[False, True]).head(MOST_CATEGORIES)
    found = [table.set_index(column)["acc_0.5"].to_dict() for table in tables]
    rows = [
        {
            "series": title,
            "group": f"{group} ({total})",
            "acc": found[number][group],
            "answers": total,
            "filter": _filter(task="rec_box", model=number, **{name: group}) if name else "",
        }
        for group, total in zip(groups[column], groups["total"], strict=True)
        for number, title in enumerate(boxes)
        if group in found[number]
    ]
    if rows:
        yield Panel(panel.title, panel.note, charts.bars(rows, "group", "acc", [*boxes]))


def error_panels(boxes: Rows) -> Iterator[Panel]:
    """How many answers of rec_box are of each kind, and what the kinds of the first model's answers became."""
    rows = [
        {
            "series": title,
            "kind": kind,
            "share": float((frame["error_kind"] == kind).mean()),
            "answers": int((frame["error_kind"] == kind).sum()),
            "filter": _filter(task="rec_box", model=number, verdict=kind),
        }
        for kind in KINDS
        for number, (title, frame) in enumerate(boxes.items())
    ]
    yield Panel("Kinds of answers", "Fractions of all answers.", charts.bars(rows, "kind", "share", [*boxes]))
    if len(boxes) > 1:
        yield _transitions(*[*boxes.items()][-2:])


def _transitions(before: tuple[str, pd.DataFrame], after: tuple[str, pd.DataFrame]) -> Panel:
    kinds = [frame.set_index("instruction_id")["error_kind"] for _, frame in (before, after)]
    table = pd.concat(kinds, axis=1, join="inner", keys=["before", "after"]).value_counts().reset_index()
    table["share"] = table["count"] / table.groupby("before")["count"].transform("sum")
    rows = [row | {"filter": _filter(task="rec_box", was=row["before"], verdict=row["after"])} for row in _rows(table)]
    note = f"Rows: kinds {before[0]}; columns: kinds {after[0]}, of the same questions; colour: the share of the row."
    return Panel("What became of them", note, charts.heat_map(rows, "after", "before", KINDS, KINDS))


def error_table(boxes: Rows) -> list[tuple[str, str, list[int]]]:
    """Each kind, its definition and the number of answers of each model."""
    counts = [frame["error_kind"].value_counts() for frame in boxes.values()]
    return [(kind, DEFINITIONS[kind], [int(each.get(kind, 0)) for each in counts]) for kind in KINDS]


def class_panels(classes: Rows) -> Iterator[Panel]:
    """What each model said for the most frequent categories, in rows of 1."""
    for number, (title, frame) in enumerate(classes.items()):
        table = confusions(frame, MOST_CATEGORIES)
        rows = [{**row, "filter": _confusion_filter(row, number)} for row in _rows(table)]
        truths = table["truth"].unique().tolist()
        answers = list(dict.fromkeys([*truths, *table["said"]]))
        note = "A row for each true category, a column for each answer; the colour is the share of the row."
        yield Panel(f"Confusion matrix, {title}", note, charts.heat_map(rows, "said", "truth", answers, truths))


def confusion_table(classes: Rows) -> list[dict[str, Any]]:
    """The most frequent wrong answers of the last model: truth, said, count, share and filter."""
    if not classes:
        return []
    table = confusions([*classes.values()][-1])
    wrong = table[table["truth"] != table["said"]].sort_values("count", ascending=False, kind="stable")
    rows = _rows(wrong.head(MOST_CONFUSIONS))
    return [{**row, "filter": _confusion_filter(row, len(classes) - 1)} for row in rows]


def category_rows(boxes: Rows, classes: Rows) -> list[dict[str, Any]]:
    """Every category with what both tasks say of it, the most frequent first.

    named, accuracy, answered: of reg_class by the last model. asked, boxes: of rec_box, its answers and the accuracy
    of each model. None if the task has no answers for the category.
    """
    table = _rows(category_table([*classes.values()][-1])) if classes else []
    named = {str(row["category"]): row for row in table}
    found = [accuracy_by(frame, "category").set_index("category").to_dict("index") for frame in boxes.values()]
    asked = {str(name): int(row["total"]) for name, row in found[-1].items()} if found else {}
    sizes = {name: max(asked.get(name, 0), named[name]["total"] if name in named else 0) for name in [*named, *asked]}
    return [
        {
            "category": name,
            "named": named.get(name, {}).get("total"),
            "accuracy": named.get(name, {}).get("accuracy"),
            "answered": named.get(name, {}).get("answered"),
            "asked": asked.get(name),
            "boxes": [each[name]["acc_0.5"] if name in each else None for each in found],
        }
        for name in sorted(sizes, key=lambda name: (-sizes[name], name))
    ]


def _confusion_filter(row: Mapping[str, Any], model: int) -> str:
    """None of the pooled categories, which are no category of an answer."""
    if OTHERS in (row["truth"], row["said"]):
        return ""
    said = {"verdict": UNREADABLE} if row["said"] == UNREADABLE else {"said": row["said"]}
    return _filter(task="reg_class", model=model, category=row["truth"], **said)


def _filter(**choices: Any) -> str:
    """The choices as the address of the page holds them, after #."""
    return urlencode(choices)


def _lines(tables: Mapping[str, pd.DataFrame], x: str, y: str) -> charts.Spec:
    rows = [{"series": title, x: row[x], y: row[y]} for title, table in tables.items() for row in _rows(table)]
    return charts.lines(rows, x, y, [*tables])


def _plain(column: str) -> str:
    """A field's name for Vega, to which a dot means a part of an object."""
    return column.replace("acc_0.5", "acc")


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
