"""VGG Image Annotator (VIA): region data of VIA 1 and 2 as JSON or CSV, or a project's JSON, beside the pictures.

A region is a rectangle, a circle, an ellipse (``theta`` in radians) or a polygon, in pixels of the picture as the
browser showed it. Lines and points are no objects. Its category is one of its attributes: the one that is called class,
label, category or the like, else one with options in the project, else the one that most regions have with the fewest
values. A free text in another attribute is an expression if it clearly is words.
"""

from __future__ import annotations

import csv
import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vilam.data.readers.dividing import split_of_folders
from vilam.data.readers.figures import ellipse
from vilam.data.readers.formats import CLEAR, Format, Found
from vilam.data.readers.items import Item, Listing, Shape, source_of
from vilam.data.readers.paths import Pictures, files_of, head_of, literal, open_text, under
from vilam.data.readers.source import ALL, MALFORMED, OBJECT, Problem, Source, read_json, wrong
from vilam.data.readers.via3 import is_via3
from vilam.data.readers.via3 import pictures_of as via3_pictures
from vilam.data.readers.wording import is_expression
from vilam.data.recipes import FormatReader, Recipe
from vilam.errors import VilamError

logger = logging.getLogger(__name__)

CLASSES = ("class", "class_name", "classname", "label", "category", "type", "object", "object_class", "name", "species")
"""Names of the attribute that is the category, the most telling first."""
NO_OBJECTS = ("line", "point", "polyline")
MOST_CSV = 1 << 24
"""Characters of a field of a CSV file, at most."""

Row = dict[str, Any]


def recognises(root: Path) -> Found | None:
    """A JSON or CSV file with VIA's regions, in a folder or one below it, or such a file itself."""
    if root.is_file():
        reader = FormatReader(kind="via", files={ALL: literal(root.name)})
        return Found("VGG Image Annotator", reader, root.parent, CLEAR) if _is_via(root) else None
    if not any(map(_is_via, _files(root))):
        return None
    return Found("VGG Image Annotator", FormatReader(kind="via"), root, CLEAR)


def open_via(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read the files; the pictures are read one by one as the rows are iterated."""
    files = [(split, file, *_pictures_of(file)) for split, file in files_of(root, reader, _own(_files(root)))]
    regions = [region for _, _, pictures, _ in files for picture in pictures.values() for region in picture["regions"]]
    options = [name for *_, named in files for name in named]
    key = _category_key([_attributes(region) for region in regions], options)
    if key:
        logger.info("%s: the category of a region is its attribute %r", root, key)
    else:
        logger.warning("%s: its regions have no attributes: all are of the category %s", root, OBJECT)
    finder = Pictures(root)
    items = []
    for split, file, pictures, _ in files:
        folders = [file.parent, *(root / folder for folder in reader.images), root]
        for name, picture in pictures.items():
            path = finder.first([name], folders)
            own = split_of_folders(under(root, path)) if split == ALL else split
            location = f"{file}: {name}"
            items.append(Item(path, under(root, path), own, location, partial(_shapes, picture["regions"], key)))
    names = dict.fromkeys(_category(_attributes(region), key) for region in regions)
    listing = Listing(items, [name for name in names if name], renamed=finder.renamed)
    return source_of(listing, recipe, reader.together, reader.window)


def _files(root: Path) -> list[Path]:
    """JSON and CSV files; the deeper ones only if there are none above."""
    for patterns in (("*.json", "*.csv"), ("*/*.json", "*/*.csv")):
        if found := [path for pattern in patterns for path in sorted(root.glob(pattern)) if _is_via(path)]:
            return found
    return []


def _own(files: Sequence[Path]) -> list[Path]:
    """Files that are read: of a CSV and a JSON file in one folder, which export the same, the JSON."""
    folders = {file.parent for file in files if file.suffix == ".json"}
    return [file for file in files if file.suffix == ".json" or file.parent not in folders]


def _is_via(file: Path) -> bool:
    if file.suffix not in (".json", ".csv"):
        return False
    head = head_of(file)
    if file.suffix == ".csv":
        return "region_shape_attributes" in head.partition("\n")[0]
    return (
        '"_via_' in head
        or ('"vid_list"' in head and '"pname"' in head)
        or ('"shape_attributes"' in head and '"region_attributes"' in head)
    )


def _pictures_of(file: Path) -> tuple[dict[str, Row], list[str]]:
    """Pictures by name, each with a list of regions, and the attributes of regions that have options."""
    try:
        if file.suffix == ".csv":
            return _of_csv(file), []
        content = read_json(file)
        if is_via3(content):
            return via3_pictures(content)
        rows = content.get("_via_img_metadata", content).values()
        declared = content.get("_via_attributes", {}).get("region", {})
        options = [name for name, one in declared.items() if one.get("type") in ("dropdown", "radio", "checkbox")]
        return {str(row["filename"]): {"regions": _listed(row["regions"])} for row in rows}, options
    except (AttributeError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise VilamError(
            f"{file}: not VIA's regions: {wrong(error)}: export the annotations as JSON or CSV again"
        ) from None


def _listed(regions: Any) -> list[Row]:
    """VIA 1 numbers the regions by keys."""
    found = list(regions.values() if isinstance(regions, dict) else regions)
    if not all(isinstance(one, dict) and isinstance(one.get("shape_attributes"), dict) for one in found):
        raise ValueError("a region without shape_attributes")
    return found


def _of_csv(file: Path) -> dict[str, Row]:
    csv.field_size_limit(MOST_CSV)
    found: dict[str, Row] = {}
    with open_text(file, newline="", errors="strict") as lines:
        for row in csv.DictReader(lines):
            name = row.get("filename") or row.get("#filename") or ""
            regions = found.setdefault(name, {"regions": []})["regions"]
            shape = json.loads(row["region_shape_attributes"] or "{}")
            if shape:
                values = json.loads(row.get("region_attributes") or "{}")
                regions.append({"shape_attributes": shape, "region_attributes": values})
    return found


def _attributes(region: Row) -> dict[str, str]:
    """The region's attributes as texts; of a list with marks, the first that is marked."""
    found = {}
    values = region.get("region_attributes")
    for name, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, dict):
            value = next((option for option, is_marked in value.items() if is_marked), "")
        if isinstance(value, str | int | float):
            found[str(name)] = str(value).strip()
    return found


def _category_key(regions: Sequence[Mapping[str, str]], options: Iterable[str]) -> str:
    """The attribute that is the category; "" if regions have none."""
    values: dict[str, Counter[str]] = {}
    for attributes in regions:
        for name, value in attributes.items():
            if value:
                values.setdefault(name, Counter())[value] += 1
    called = {name.lower().replace(" ", "_"): name for name in reversed(values)}
    known = next((called[name] for name in CLASSES if name in called), None)
    chosen = known or next((name for name in options if name in values), None)
    return chosen or max(values, key=lambda name: (values[name].total(), -len(values[name])), default="")


def _category(attributes: Mapping[str, str], key: str) -> str:
    """The category of a region; `OBJECT` if the regions of the set have no attributes, as those of one class."""
    return attributes.get(key, "") if key else OBJECT


def _shapes(regions: Sequence[Row], key: str) -> list[Shape | Problem]:
    return list(_each(regions, key))


def _each(regions: Sequence[Row], key: str) -> Iterator[Shape | Problem]:
    for number, region in enumerate(regions, start=1):
        location, attributes = f"region {number}", _attributes(region)
        name = _category(attributes, key)
        texts = [text for field, text in attributes.items() if field != key and is_expression(field, text)]
        try:
            if not name:
                raise ValueError(f"a region without {key}")
            yield _shape(region["shape_attributes"], name, tuple(texts), location)
        except MALFORMED as error:
            yield Problem("", location, wrong(error), category=name)


def _shape(values: Row, name: str, texts: tuple[str, ...], location: str) -> Shape:
    kind = values["name"]
    if kind == "rect":
        x, y, width, height = (float(values[key]) for key in ("x", "y", "width", "height"))
        return Shape(name, (x, y, x + width, y + height), expressions=texts, location=location)
    if kind == "polygon":
        xs, ys = values["all_points_x"], values["all_points_y"]
        ring = tuple((float(x), float(y)) for x, y in zip(xs, ys, strict=True))
        if len(ring) < 3:
            raise ValueError(f"a polygon of {len(ring)} points")
    elif kind in ("circle", "ellipse"):
        radii = (values["r"], values["r"]) if kind == "circle" else (values["rx"], values["ry"])
        turn = math.degrees(float(values.get("theta") or 0))
        ring = ellipse((float(values["cx"]), float(values["cy"])), (float(radii[0]), float(radii[1])), turn)
    else:
        raise ValueError(f"a {kind} is no object" if kind in NO_OBJECTS else f"unknown shape {kind}")
    return Shape(name, polygons=(ring,), expressions=texts, location=location)


FORMAT = Format(
    "via",
    "VGG Image Annotator",
    "a JSON or CSV file of VIA 1 or 2 (via_region_data.json, via_project.json), or a project of VIA 3, beside the "
    "pictures or above them",
    "boxes, outlines, circles, ellipses, one attribute as category, others that are words as expressions",
    "points, lines, attributes of files, films",
    recognises,
    open_via,
)
