"""The charts, as Vega draws them: sizes and positions of their marks, read from the picture."""

import json
import re
from typing import Any

import pytest
import vl_convert

from vilam.evaluation.charts import NOW, THEN, Spec, bars, heat_map, library, lines

SERIES = ("before", "after")


def marks(spec: Spec) -> list[tuple[str, dict[str, str]]]:
    """The marks of a chart of 200 pixels: what a screen reader is told, and the attributes of the path."""
    svg = vl_convert.vegalite_to_svg(json.dumps(spec))
    found = re.findall(r'<path aria-label="([^"]*)"([^>]*)>', svg)
    return [(label, dict(re.findall(r'(\S+)="([^"]*)"', attributes))) for label, attributes in found]


def row(series: str, label: str, value: float) -> dict[str, Any]:
    return {"series": series, "label": label, "accuracy": value, "answers": 4}


def test_bars_are_as_long_as_their_values_and_in_the_order_of_the_rows() -> None:
    values = {("before", "small"): 0.25, ("after", "small"): 0.5, ("before", "b < 2"): 0.75, ("after", "b < 2"): 1.0}
    drawn = marks(bars([row(*key, value) for key, value in values.items()], "label", "accuracy", SERIES))
    shown = [(label, mark) for label, mark in drawn if "fill" in mark and mark["fill"] in (NOW, THEN)]
    assert [mark["fill"] for _, mark in shown] == [THEN, NOW, THEN, NOW]
    widths = [float(re.match(r"M[^h]*h([\d.]+)", mark["d"])[1]) for _, mark in shown]
    assert [width / widths[-1] for width in widths] == pytest.approx([*values.values()], abs=0.03)  # rounded corners
    assert "small" in shown[0][0] and "b &lt; 2" in shown[-1][0]


def test_a_line_has_a_point_for_each_row() -> None:
    rows = [{"series": "after", "threshold": number / 10, "accuracy": 1 - number / 10} for number in range(5, 10)]
    drawn = [mark for label, mark in marks(lines(rows, "threshold", "accuracy", ["after"])) if "threshold: " in label]
    points = [mark["transform"] for mark in drawn if "transform" in mark]
    heights = [float(re.search(r"translate\([\d.]+,([\d.]+)\)", each)[1]) for each in points]
    assert heights == pytest.approx([100, 120, 140, 160, 180])  # of 200 pixels, from above


def test_cells_of_a_heat_map_stand_at_their_names() -> None:
    cells = [("star", "disc", 3, 0.75), ("star", "star", 1, 0.25), ("disc", "disc", 2, 1.0)]
    rows = [{"truth": truth, "said": said, "count": count, "share": share} for truth, said, count, share in cells]
    drawn = marks(heat_map(rows, "said", "truth", ["disc", "star"], ["star", "disc"]))
    paths = [mark["d"] for _, mark in drawn if mark.get("aria-roledescription") == "rect mark"]
    starts = [tuple(float(number) for number in re.match(r"M([\d.]+),([\d.]+)", path).groups()) for path in paths]
    width = starts[1][0]
    assert starts == [(0, 0), (width, 0), (0, 22)] and width > 50


def test_the_library_can_stand_in_a_page() -> None:
    assert "vegaEmbed" in library()
    assert "</script" not in library().lower() and "<!--" not in library()
