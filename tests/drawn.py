"""Reads a drawn plot as a person does: the positions of its marks against its axes, their looks against its legends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import vl_convert

Item = dict[str, Any]
LOOKS = ("fill", "stroke", "opacity", "strokeDash")
"""What a legend can tell apart."""


@dataclass(frozen=True)
class Axis:
    """The labels of an axis by their pixel."""

    labels: list[tuple[float, str]]

    def number(self, pixel: float) -> float:
        """The number at a pixel, between the first label and the last, or beyond them."""
        (first, low), (last, high) = self.labels[0], self.labels[-1]
        low_number, high_number = (float(text.replace(",", "").replace("−", "-")) for text in (low, high))
        if first == last:
            assert pixel == first
            return low_number
        return low_number + (pixel - first) / (last - first) * (high_number - low_number)

    def name(self, pixel: float) -> str:
        """The label that is nearest to a pixel."""
        return min(self.labels, key=lambda label: abs(label[0] - pixel))[1]


@dataclass(frozen=True)
class Legend:
    """The labels of a legend by the look of their symbols, such as their ``fill``."""

    look: str
    labels: dict[str, str]

    def name(self, mark: Item) -> str:
        """The label of a mark."""
        return self.labels[str(mark.get(self.look))]


@dataclass(frozen=True)
class Panel:
    """A plot, or one of those in a row: ``x`` and ``y`` are its axes, ``legends`` are by title."""

    x: Axis
    y: Axis
    legends: dict[str, Legend]
    marks: dict[str, list[Item]]
    """By type, such as ``rect``."""


def panels(spec: Item) -> dict[str, Panel]:
    """The panels of a Vega-Lite specification by their titles; a plot without panels has its own title."""
    (root,) = vl_convert.vegalite_to_scenegraph(spec)["scenegraph"]["items"]
    cells = [item for group in _groups(root) if group.get("name") == "cell" for item in group["items"]]
    return {next(_texts(cell, "title-text")): _panel(cell, root) for cell in cells or [root]}


def _panel(cell: Item, root: Item) -> Panel:
    marks: dict[str, list[Item]] = {}
    for mark in _all(cell):
        if mark["role"] == "mark":
            marks.setdefault(mark["marktype"], []).extend(mark["items"])
    return Panel(_axis(cell, root, "bottom", "x"), _axis(cell, root, "left", "y"), dict(_legends(root)), marks)


def _axis(cell: Item, root: Item, side: str, way: str) -> Axis:
    """The labelled axis of a panel, or the one that all panels share."""
    for place in (cell, root):
        for group in _groups(place):
            for axis in group["items"] if group.get("role") == "axis" else []:
                labels = [item for mark in axis["items"] if mark["role"] == "axis-label" for item in mark["items"]]
                if axis["orient"] == side and labels:
                    return Axis([(item[way], item["text"]) for item in labels])
    raise AssertionError(f"no labelled axis at the {side}")


def _legends(root: Item) -> Iterator[tuple[str, Legend]]:
    for group in _groups(root):
        for legend in group["items"] if group.get("role") == "legend" else []:
            symbols = [item for mark in _all(legend) if mark["role"] == "legend-symbol" for item in mark["items"]]
            look = next((look for look in LOOKS if len({str(each.get(look)) for each in symbols}) > 1), "fill")
            labels = zip((str(each.get(look)) for each in symbols), _texts(legend, "legend-label"), strict=True)
            yield next(_texts(legend, "legend-title")), Legend(look, dict(labels))


def _texts(place: Item, role: str) -> Iterator[str]:
    return (item["text"] for mark in _all(place) if mark["role"] == role for item in mark["items"])


def _all(place: Item) -> Iterator[Item]:
    """All marks below an item, except groups."""
    for mark in place["items"]:
        if mark["marktype"] == "group":
            for item in mark["items"]:
                yield from _all(item)
        else:
            yield mark


def _groups(place: Item) -> Iterator[Item]:
    for mark in place["items"]:
        if mark["marktype"] == "group":
            yield mark
            for item in mark["items"]:
                yield from _groups(item)
