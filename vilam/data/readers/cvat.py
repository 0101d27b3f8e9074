"""CVAT for images 1.1, and for video 1.1 (cvat_tracks.py): annotations.xml, and the pictures in images/.

An ``image`` element holds a task's picture with its ``width`` and ``height``, and its shapes: ``box`` (corners in
pixels, with a ``rotation`` in degrees about its centre), ``polygon``, ``ellipse``, ``mask`` (run lengths row by row in
a window) and ``skeleton``, whose points become keypoints. Shapes of one label and ``group_id`` are parts of one object.
A text attribute becomes an expression if it clearly is words. The export of a project names the ``subset`` of each
picture, and its pictures are in images/SUBSET. Pictures are annotated as CVAT shows them: turned by their tag.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from vilam.data.readers.cvat_tracks import add_frames
from vilam.data.readers.dividing import usual
from vilam.data.readers.figures import corners, ellipse, joined, mask_shape, rotated, runs_to_mask
from vilam.data.readers.formats import CLEAR, Format, Found
from vilam.data.readers.items import Item, Listing, Shape, source_of
from vilam.data.readers.markup import read_xml
from vilam.data.readers.paths import Pictures, files_of, head_of, literal, under
from vilam.data.readers.source import ALL, MALFORMED, Problem, Source, wrong
from vilam.data.readers.wording import is_expression
from vilam.data.recipes import FormatReader, Recipe
from vilam.data.records import Keypoint, KeypointSchema

FRAME_SUFFIXES = ("", ".PNG", ".png", ".jpg")
"""What CVAT adds to the name of a film's frame."""
DEFAULT = ("", "default")
"""Names of the subset of pictures that nobody has divided."""
NO_OBJECTS = ("cuboid", "points", "polyline")


@dataclass(slots=True)
class _Labels:
    """What the files' meta elements declare: names, the text attributes and the keypoints of each."""

    names: list[str] = field(default_factory=list)
    texts: dict[str, set[str]] = field(default_factory=dict)
    keypoints: dict[str, KeypointSchema] = field(default_factory=dict)


def recognises(root: Path) -> Found | None:
    """An XML file that begins with CVAT's annotations, in a folder or one below it, or such a file itself."""
    files = [root] if root.is_file() else _files(root)
    for file in files:
        if _is_cvat(file):
            pattern = {ALL: literal(file.name)} if root.is_file() else None
            head = head_of(file)
            title = f"CVAT for {'video' if '<track ' in head and '<image ' not in head else 'images'} 1.1"
            folder = file.parent if root.is_file() else root
            return Found(title, FormatReader(kind="cvat", files=pattern), folder, CLEAR)
    return None


def open_cvat(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read the XML files and list their pictures, which are read one by one as the rows are iterated.

    Raises VilamError for a file that is not CVAT's, and for an export of films without pictures of their frames.
    """
    labels, items, problems, renamed = _Labels(), list[Item](), list[Problem](), dict[str, Path]()
    for split, file in files_of(root, reader, filter(_is_cvat, _files(root))):
        tree = read_xml(file)
        if tree.find("image") is None and tree.find("track") is not None:
            problems += add_frames(tree, file)
        _declare(tree, labels)
        if split == ALL:  # Datumaro writes a file for each split
            split = usual(file.stem) or ALL
        folders = [file.parent / folder for folder in (*reader.images, "images", "")]
        pictures = Pictures(file.parent)
        items += _items(tree, split, file, root, partial(pictures.first, folders=folders), labels)
        renamed |= pictures.renamed
    listing = Listing(items, labels.names, labels.keypoints, problems, renamed=renamed)
    return source_of(listing, recipe, reader.together, reader.window)


def _files(root: Path) -> list[Path]:
    return [*sorted(root.glob("*.xml")), *sorted(root.glob("*/annotations.xml"))]


def _is_cvat(file: Path) -> bool:
    if file.suffix != ".xml":
        return False
    head = head_of(file)
    return re.search(r"<annotations>\s*(<version>\s*1\.\d|<meta>|<image\s)", head) is not None


def _declare(tree: ET.Element, labels: _Labels) -> None:
    declared = [label for meta in tree.findall("meta") for label in meta.iter("label")]
    parts: dict[str, list[str]] = {}
    for label in declared:
        name, parent = label.findtext("name", ""), label.findtext("parent")
        if parent:
            parts.setdefault(parent, []).append(name)
            continue
        labels.names.append(name)
        attributes = label.iterfind("attributes/attribute")
        texts = {one.findtext("name", "") for one in attributes if one.findtext("input_type") == "text"}
        labels.texts.setdefault(name, set()).update(texts)
    drawings = {label.findtext("name", ""): label.findtext("svg", "") for label in declared}
    for name, points in parts.items():
        bones = _bones(drawings.get(name, ""), points)
        labels.keypoints[name] = KeypointSchema.without_sigmas(points, bones)
    for element in (one for image in tree.iterfind("image") for one in image if one.tag != "tag"):
        name = element.get("label", "")
        labels.names.append(name)
        if element.tag == "skeleton" and name not in labels.keypoints:
            points = [one.get("label", "") for one in element.iterfind("points")]
            labels.keypoints[name] = KeypointSchema.without_sigmas(points)
    labels.names = [name for name in dict.fromkeys(labels.names) if name]


def _bones(drawing: str, points: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The edges of a skeleton's SVG drawing as pairs of indices; those between nodes that it does not name are lost."""
    tags = [dict(re.findall(r'data-([a-z-]+)="([^"]*)"', tag)) for tag in re.findall(r"<[^>]*>", drawing)]
    numbers = {tag.get("node-id"): tag.get("label-name") for tag in tags if tag.get("type") == "element node"}
    places = {node: points.index(name) for node, name in numbers.items() if name in points}
    ends = [(tag.get("node-from"), tag.get("node-to")) for tag in tags if tag.get("type") == "edge"]
    return tuple((places[one], places[two]) for one, two in ends if one in places and two in places)


def _items(
    tree: ET.Element, split: str, file: Path, root: Path, find: Callable[..., Path], labels: _Labels
) -> list[Item]:
    subset = tree.findtext("meta/task/subset", "")
    subsets = {image.get("subset", subset) for image in tree.iterfind("image")}
    found = []
    for image in tree.iterfind("image"):
        name = image.get("name", "")
        own = image.get("subset", subset)
        names = [place + name + end for place in ([f"{own}/", ""] if own else [""]) for end in FRAME_SUFFIXES]
        path = find(names, foreign=(subsets - {own}).__contains__)
        told = split if split != ALL else own
        official = ALL if told.lower() in DEFAULT else told
        location = f"{file}: image {name}"
        shapes = partial(_shapes, image, labels)
        found.append(Item(path, under(root, path), official, location, shapes, size=_size(image)))
    return found


def _size(image: ET.Element) -> tuple[int, int] | None:
    sides = image.get("width", ""), image.get("height", "")
    return (int(sides[0]), int(sides[1])) if all(side.isdecimal() for side in sides) else None


def _shapes(image: ET.Element, labels: _Labels) -> list[Shape | Problem]:
    parts: list[tuple[object, Shape | Problem]] = []
    for number, element in enumerate((one for one in image if one.tag != "tag"), start=1):
        name, group = element.get("label", ""), element.get("group_id", "0")
        location = f"shape {number}"
        try:
            part: Shape | Problem = _shape(element, name, labels, location)
        except MALFORMED as error:
            part = Problem("", location, wrong(error), category=name)
        parts.append(((name, group) if group != "0" else None, part))
    return joined(parts)


def _shape(element: ET.Element, name: str, labels: _Labels, location: str) -> Shape:
    if not name:
        raise ValueError(f"a {element.tag} without a label")
    texts = tuple(
        attribute.text.strip()
        for attribute in element.iterfind("attribute")
        if attribute.text
        and attribute.get("name", "") in labels.texts.get(name, ())
        and is_expression(attribute.get("name", ""), attribute.text)
    )
    turn = float(element.get("rotation", 0))
    if element.tag == "box":
        box = _number(element, "xtl"), _number(element, "ytl"), _number(element, "xbr"), _number(element, "ybr")
        if not turn:
            return Shape(name, box, expressions=texts, location=location)
        ring = rotated(corners(box), turn, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        return Shape(name, polygons=(ring,), expressions=texts, location=location)
    if element.tag == "polygon":
        ring = tuple(_points(element))
        if len(ring) < 3:
            raise ValueError(f"a polygon of {len(ring)} points")
        return Shape(name, polygons=(ring,), expressions=texts, location=location)
    if element.tag == "ellipse":
        centre = _number(element, "cx"), _number(element, "cy")
        ring = ellipse(centre, (_number(element, "rx"), _number(element, "ry")), turn)
        return Shape(name, polygons=(ring,), expressions=texts, location=location)
    if element.tag == "mask":
        runs = [int(run) for run in element.get("rle", "").split(",")]
        mask = runs_to_mask(runs, int(_number(element, "width")), int(_number(element, "height")))
        shape = mask_shape(name, mask, _number(element, "left"), _number(element, "top"))
        return replace(shape, expressions=texts, location=location)
    if element.tag == "skeleton":
        points = _keypoints(element, labels.keypoints)
        return Shape(name, keypoints=points, expressions=texts, location=location)
    raise ValueError(f"a {element.tag} is no object" if element.tag in NO_OBJECTS else f"unknown shape {element.tag}")


def _number(element: ET.Element, name: str) -> float:
    value = element.get(name)
    if value is None:
        raise ValueError(f"a {element.tag} without {name}")
    return float(value)


def _points(element: ET.Element) -> list[tuple[float, float]]:
    pairs = (pair.split(",") for pair in element.get("points", "").split(";") if pair)
    return [(float(x), float(y)) for x, y in pairs]


def _keypoints(element: ET.Element, schemas: Mapping[str, KeypointSchema]) -> tuple[Keypoint, ...]:
    """The points of a skeleton in the order of its label's schema; those outside of the picture are not labelled."""
    found: dict[str, Keypoint] = {}
    for one in element.iterfind("points"):
        if one.get("outside") != "1" and (points := _points(one)):
            found[one.get("label", "")] = (*points[0], 1 if one.get("occluded") == "1" else 2)
    return tuple(found.get(name, (0.0, 0.0, 0)) for name in schemas[element.get("label", "")].names)


FORMAT = Format(
    "cvat",
    "CVAT for images 1.1 and for video 1.1",
    "annotations.xml (several tasks: FOLDER/annotations.xml) and images/, or images/SUBSET; "
    "pictures of the frames of films",
    "boxes, outlines, masks, ellipses, skeletons as keypoints, groups as one object, subsets, texts that are words",
    "the angle of turned boxes, tags, attributes, polylines, points alone, cuboids, z_order, tracks as such",
    recognises,
    open_cvat,
)
