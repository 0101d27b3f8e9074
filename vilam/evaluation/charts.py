"""Charts for a page that opens without a network: Vega-Lite specifications as dicts, and the library that draws them.

A page holds `library` in a script and calls ``vegaEmbed(element, specification)``. Each chart is as wide as its
element. A row's ``filter``, if it has one, reaches a click on its mark as ``item.datum.filter``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import vl_convert

Spec = dict[str, Any]
Row = Mapping[str, Any]

NOW, THEN = "#2563a8", "#b3c0d1"
"""Colours of the last series and of those before it."""
TICKS = [0, 0.25, 0.5, 0.75, 1]
LABEL_WIDTH = 170
"""Pixels of a label beside an axis, at most."""


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script of 0.9 MB that sets ``window.vegaEmbed`` and loads nothing."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed"))


def lines(rows: Sequence[Row], x: str, y: str, series: Sequence[str]) -> Spec:
    """A line with points for each ``series`` of the rows; ``y`` is a fraction."""
    encoding = {
        "x": {"field": x, "type": "quantitative", "scale": {"zero": False}, "title": x.replace("_", " ")},
        "y": {**_fraction(y), "title": None},
        "color": _colour(series),
        "tooltip": _tooltip("series", x, y),
    }
    return _chart(rows, {"mark": {"type": "line", "point": True}, "encoding": encoding, "height": 200})


def bars(rows: Sequence[Row], label: str, value: str, series: Sequence[str]) -> Spec:
    """Horizontal bars of a fraction: one group for each ``label``, in the order of the rows, a bar for each series."""
    shared = {
        "y": {"field": label, "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": LABEL_WIDTH}},
        "yOffset": {"field": "series", "sort": list(series)},
        "x": {**_fraction(value, margin=0.25), "title": None},
        "tooltip": _tooltip("series", label, value, *(["answers"] if rows and "answers" in rows[0] else [])),
    }
    text = {"type": "text", "align": "left", "dx": 4, "fontSize": 11, "color": "#667085"}
    layers = [
        {"mark": {"type": "bar", "cornerRadiusEnd": 2}, "encoding": {"color": _colour(series)}},
        {"mark": text, "encoding": {"text": {"field": value, "format": ".3f"}}},
    ]
    return _chart(rows, {"encoding": shared, "layer": layers, "height": {"step": 14}})


def heat_map(rows: Sequence[Row], x: str, y: str, columns: Sequence[str], lines: Sequence[str]) -> Spec:
    """Cells of a matrix with their ``count``, coloured by ``share``, 0..1; columns, lines: their names, in order."""
    shared = {
        "x": {**_category(x, columns), "axis": {"orient": "top", "labelAngle": -45, "labelLimit": LABEL_WIDTH}},
        "y": {**_category(y, lines), "axis": {"labelLimit": LABEL_WIDTH}},
        "tooltip": _tooltip(y, x, "count", "share"),
    }
    colour = {"field": "share", "type": "quantitative", "legend": None, "scale": {"domain": [0, 1], "scheme": "blues"}}
    contrast = {"condition": {"test": "datum.share > 0.55", "value": "white"}, "value": "#1c2430"}
    layers = [
        {"mark": "rect", "encoding": {"color": colour}},
        {"mark": {"type": "text", "fontSize": 11}, "encoding": {"text": {"field": "count"}, "color": contrast}},
    ]
    return _chart(rows, {"encoding": shared, "layer": layers, "height": {"step": 22}})


def _chart(rows: Sequence[Row], parts: Spec) -> Spec:
    config = {"view": {"stroke": None}, "axis": {"grid": False, "domainColor": "#d5dbe3", "tickColor": "#d5dbe3"}}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"values": [dict(row) for row in rows]},
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": {**config, "axisQuantitative": {"grid": True, "gridColor": "#eef1f5"}},
        **parts,
    }


def _colour(series: Sequence[str]) -> Spec:
    colours = [THEN] * (len(series) - 1) + [NOW]
    legend = {"orient": "top", "title": None} if len(series) > 1 else None
    return {"field": "series", "type": "nominal", "legend": legend, "scale": {"domain": [*series], "range": colours}}


def _fraction(field: str, margin: float = 0) -> Spec:
    scale = {"domain": [0, 1 + margin], "nice": False}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": {"values": TICKS, "format": ".2~f"}}


def _category(field: str, order: Sequence[str]) -> Spec:
    return {"field": field, "type": "nominal", "scale": {"domain": [*order]}, "title": field}


def _tooltip(*fields: str) -> list[Spec]:
    return [{"field": field} for field in fields]
