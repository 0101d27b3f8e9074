"""Projects of VIA 3 (file, view, attribute, metadata) as the pictures and regions of VIA 2.

A row of ``metadata`` names a view, which shows one file. Its ``xy`` begins with the number of a shape; coordinates are
pixels. Its ``av`` has a value for each attribute by number: a text, or the numbers of options. Rows without ``xy`` are
of whole files; films and sounds are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vilam.data.readers.source import MALFORMED

Row = dict[str, Any]

IMAGE = 2
"""The type of a file that is a picture."""
WITH_OPTIONS = (2, 3, 4)
"""Types of attributes that are a check box, a radio button or a list to choose from."""
POINT, RECTANGLE, CIRCLE, ELLIPSE, LINE, POLYLINE, POLYGON, EXTREME_RECTANGLE, EXTREME_CIRCLE = range(1, 10)
NO_OBJECTS = {POINT: "point", LINE: "line", POLYLINE: "polyline"}


def is_via3(content: Row) -> bool:
    """Whether a JSON object is a project of VIA 3."""
    return all(isinstance(content.get(part), dict) for part in ("project", "file", "view", "metadata"))


def pictures_of(content: Row) -> tuple[dict[str, Row], list[str]]:
    """Pictures by name, each with its regions as VIA 2 has them, and the attributes that have options.

    Raises one of `MALFORMED` if parts of the project are missing, and ValueError if it has no picture.
    """
    attributes = content.get("attribute") or {}
    names = {str(fid): str(file["fname"]) for fid, file in content["file"].items() if int(file["type"]) == IMAGE}
    if not names:
        raise ValueError("a project of films or sounds, which are not read")
    pictures: dict[str, Row] = {name: {"regions": []} for name in names.values()}
    shown = {vid: [str(fid) for fid in view["fid_list"]] for vid, view in content["view"].items()}
    for row in content["metadata"].values():
        files = shown.get(str(row["vid"]), [])
        if len(files) == 1 and files[0] in names and row["xy"]:
            pictures[names[files[0]]]["regions"].append(
                {"shape_attributes": _shape(row["xy"]), "region_attributes": _values(row.get("av") or {}, attributes)}
            )
    return pictures, [str(one["aname"]) for one in attributes.values() if one.get("type") in WITH_OPTIONS]


def _values(values: Row, attributes: Row) -> Row:
    """The values of attributes by name; of several options, the first."""
    found = {}
    for key, value in values.items():
        about = attributes.get(key) or {}
        if about.get("type") in WITH_OPTIONS:
            options = about.get("options") or {}
            first = str(value).split(",")[0]
            value = options.get(first, first)
        found[str(about.get("aname", key))] = value
    return found


def _shape(xy: Sequence[Any]) -> Row:
    """The attributes of a shape; one that cannot be read has only the name of its kind, or none."""
    try:
        kind, *numbers = (float(value) for value in xy)
        return _of_numbers(int(kind), numbers)
    except MALFORMED:
        return {"name": f"shape of {str(xy)[:40]}"}


def _of_numbers(kind: int, numbers: Sequence[float]) -> Row:
    xs, ys = list(numbers[::2]), list(numbers[1::2])
    if kind == RECTANGLE:
        return {"name": "rect", **dict(zip(("x", "y", "width", "height"), numbers, strict=True))}
    if kind == EXTREME_RECTANGLE:
        return {"name": "rect", "x": min(xs), "y": min(ys), "width": max(xs) - min(xs), "height": max(ys) - min(ys)}
    if kind == CIRCLE:
        return {"name": "circle", **dict(zip(("cx", "cy", "r"), numbers, strict=True))}
    if kind == EXTREME_CIRCLE:
        return {"name": "circle", **_circle(*zip(xs, ys, strict=True))}
    if kind == ELLIPSE:
        return {"name": "ellipse", **dict(zip(("cx", "cy", "rx", "ry"), numbers, strict=True))}
    if kind == POLYGON:
        return {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
    return {"name": NO_OBJECTS[kind]}


def _circle(*rim: tuple[float, float]) -> Row:
    """The circle through three points; raises ValueError if they are no three, or lie on a line."""
    (ax, ay), (bx, by), (cx, cy) = rim
    twice = 2 * (ax * (by - cy) + bx * (cy - ay) + cx * (ay - by))
    if not twice:
        raise ValueError("three points on a line")
    a, b, c = ax * ax + ay * ay, bx * bx + by * by, cx * cx + cy * cy
    x = (a * (by - cy) + b * (cy - ay) + c * (ay - by)) / twice
    y = (a * (cx - bx) + b * (ax - cx) + c * (bx - ax)) / twice
    return {"cx": x, "cy": y, "r": math.hypot(ax - x, ay - y)}
