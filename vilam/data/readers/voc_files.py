"""Pascal VOC's XML files, as they are written: corners and outlines as each tool counts pixels."""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vilam.data.kinds import UNREADABLE
from vilam.data.readers.source import Problem
from vilam.data.records import Polygon
from vilam.errors import one_line
from vilam.geometry.boxes import Box

SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class VocObject:
    """An object with its corners as the file counts them; ``fault``: why it has none."""

    category: str
    location: str
    corners: Box | None
    ring: Polygon = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class VocFile:
    """An XML file. picture: the names it gives its picture. from_zero: whether a tool wrote it that counts from 0."""

    path: Path
    pictures: tuple[str, ...]
    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]
    from_zero: bool


def xml_files(root: Path) -> Iterator[Path]:
    """The XML files below a folder, in the order of their paths."""
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(folder for folder in folders if not folder.startswith((".", "__MACOSX")))
        own = (name for name in sorted(names) if name.lower().endswith(".xml") and not name.startswith("."))
        yield from (Path(parent, name) for name in own)


def head_of(path: Path) -> bytes:
    """The first bytes of a file, without those of UTF-16 that are 0; none if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(2000).replace(b"\0", b"")
    except OSError:
        return b""


def read_voc(path: Path, problems: list[Problem]) -> VocFile | None:
    """The content of an XML file; None if it is none of VOC, or a problem."""
    try:
        content = path.read_bytes()
        if b"<!DOCTYPE" in content.replace(b"\0", b"") or b"<!ENTITY" in content.replace(b"\0", b""):
            raise ValueError("it has a DOCTYPE, which VOC has not")
        root = ET.fromstring(content)
    except (OSError, ET.ParseError, ValueError, LookupError, RecursionError) as error:
        problems.append(Problem("", str(path), f"cannot be read: {one_line(error)}", UNREADABLE))
        return None
    if root.tag != "annotation":
        return None
    listed = enumerate(root.iter("object"), start=1)
    objects = tuple(_object(one, f"object {number}") for number, one in listed if one.findtext("deleted") != "1")
    names = (root.findtext("filename") or "", root.findtext("path") or "")
    tool = root.findtext("owner/name") == "Label Studio" or (
        root.findtext("source/annotation") == root.findtext("source/image") == "Unknown"
    )
    tool = tool or root.find("imagesize") is not None  # LabelMe's web tool
    return VocFile(path, tuple(filter(None, map(str.strip, names))), _size(root), objects, tool)


def _size(root: ET.Element) -> tuple[int, int] | None:
    """Width and height that a file tells; None if it does not."""
    sides = (
        ("imagesize/ncols", "imagesize/nrows") if root.find("imagesize") is not None else ("size/width", "size/height")
    )
    try:
        width, height = (int(float(_text(root, side))) for side in sides)
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _object(element: ET.Element, location: str) -> VocObject:
    name = (element.findtext("name") or "").strip()
    if not name:
        return VocObject("", location, None, fault="no name")
    try:
        ring = _ring(element)
        if element.find("bndbox") is None and ring:
            return VocObject(name, location, None, ring)
        place = "segm/box" if element.find("segm/box") is not None else "bndbox"  # a mask of LabelMe's web tool
        x1, y1, x2, y2 = (float(_text(element, f"{place}/{side}")) for side in SIDES)
        if x1 == x2 or y1 == y2:
            raise ValueError(f"box of no area: {x1:g} {y1:g} {x2:g} {y2:g}")
    except ValueError as error:
        return VocObject(name, location, None, fault=one_line(error))
    return VocObject(name, location, (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), ring)


def _ring(element: ET.Element) -> Polygon:
    """The points of an object's outline: x1, y1, x2, ... (Roboflow), pt (LabelMe), or a turned box (roLabelImg)."""
    if (turned := element.find("robndbox")) is not None:
        return _turned_box(*(float(_text(turned, value)) for value in ("cx", "cy", "w", "h", "angle")))
    polygon = element.find("polygon")
    if polygon is None:
        return ()
    points = [(float(_text(point, "x")), float(_text(point, "y"))) for point in polygon.iter("pt")]
    number = 1
    while not polygon.findall("pt") and polygon.find(f"x{number}") is not None:
        points.append((float(_text(polygon, f"x{number}")), float(_text(polygon, f"y{number}"))))
        number += 1
    return tuple(points)


def _turned_box(cx: float, cy: float, width: float, height: float, angle: float) -> Polygon:
    """The corners of a box that is turned clockwise about its centre, by an angle in radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    corners = [(sx * width / 2, sy * height / 2) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return tuple((cx + x * cos - y * sin, cy + x * sin + y * cos) for x, y in corners)


def _text(element: ET.Element, path: str) -> str:
    text = element.findtext(path)
    if not text or not text.strip():
        raise ValueError(f"no {path}")
    return text.strip()
