"""COCO's annotations: boxes, outlines, keypoints and crowds of one object, in whichever spelling a tool writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vilam.data.masks import mask_to_polygons, rle_to_mask
from vilam.data.readers.items import Shape
from vilam.data.readers.source import MALFORMED, Problem
from vilam.data.records import Keypoint, KeypointSchema, Polygon
from vilam.errors import one_line
from vilam.geometry.boxes import Box, xywh_to_xyxy

PERSON_SIGMAS = tuple(sigma / 1000 for sigma in (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89))
"""COCO's own, from pycocotools ``Params.setKpParams``."""
PERSON = KeypointSchema(
    (
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
        *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
        *("left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    (
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
        *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ),
    PERSON_SIGMAS,
)
"""COCO's person, for files that have keypoints without a schema."""
NO_CROWD = ("", "0", "0.0", "false", "no", "none", "null")
"""Spellings of an ``iscrowd`` that is none."""

Annotation = dict[str, Any]


def keypoint_schema(category: Annotation) -> KeypointSchema:
    """A category's keypoints; COCO counts the ends of bones from 1 and has sigmas for persons only."""
    names = tuple(str(name) for name in category["keypoints"])
    bones = ((int(start) - 1, int(end) - 1) for start, end in category.get("skeleton") or [])
    skeleton = tuple(bone for bone in bones if all(0 <= end < len(names) for end in bone))
    if len(names) == len(PERSON_SIGMAS):
        return KeypointSchema(names, skeleton, PERSON_SIGMAS)
    return KeypointSchema.without_sigmas(names, skeleton)


def schema_of(count: int) -> KeypointSchema:
    """Of keypoints without names: COCO's person if they are as many as his."""
    names = [f"point {number + 1}" for number in range(count)]
    return PERSON if count == len(PERSON.names) else keypoint_schema({"keypoints": names})


def parse_polygons(segmentation: object) -> tuple[Polygon, ...]:
    """COCO's polygons or run lengths as rings; raises ValueError or TypeError if they are neither."""
    if isinstance(segmentation, dict):
        return mask_to_polygons(rle_to_mask(segmentation))
    if not isinstance(segmentation, list):
        raise TypeError(f"segmentation is {type(segmentation).__name__}")
    return tuple(_ring(flat) for flat in segmentation)


def parse_keypoints(flat: list[float] | None) -> tuple[Keypoint, ...]:
    """COCO's x1, y1, v1, ... as (x, y, v); empty if none is labelled."""
    values = flat or []
    if len(values) % 3:
        raise ValueError(f"keypoints of {len(values)} values, not three each")
    points = tuple(
        (float(x), float(y), int(v)) for x, y, v in zip(values[::3], values[1::3], values[2::3], strict=True)
    )
    return points if any(v for _, _, v in points) else ()


def is_crowd(annotation: Annotation) -> bool:
    """Whether an annotation is of many objects at once; false for 0, "0", "false", null and the like."""
    told = annotation.get("iscrowd", 0)
    return told != 0 and str(told).strip().lower() not in NO_CROWD


def box_of(annotation: Annotation) -> Box | None:
    """box_xyxy of an annotation's ``bbox``; None if it has none. Raises ValueError or TypeError if it is no box."""
    bbox = annotation.get("bbox")
    if bbox is None or bbox == []:
        return None
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise ValueError(f"bbox is {str(bbox)[:40]}, not four numbers")
    return xywh_to_xyxy([float(value) for value in bbox])


def shapes_of(annotations: Iterable[tuple[str, Annotation]]) -> list[Shape | Problem]:
    """The objects of a picture, from its annotations with the names of their categories; crowds are none.

    A part that cannot be read is a problem, and so is an object of which nothing is left.
    """
    found: list[Shape | Problem] = []
    for category, annotation in annotations:
        if not is_crowd(annotation):
            found += _object(category, annotation)
    return found


def _object(category: str, annotation: Annotation) -> list[Shape | Problem]:
    location = f"annotation {annotation.get('id')}"
    faults: list[str] = []
    box: Box | None = None
    rings: tuple[Polygon, ...] = ()
    points: tuple[Keypoint, ...] = ()
    rle: dict[str, Any] | None = None
    try:
        box = box_of(annotation)
    except MALFORMED as error:
        faults.append(one_line(error))
    try:
        rings, rle, lost = _outline(annotation.get("segmentation"))
        faults += lost
    except MALFORMED as error:
        faults.append(f"outline left out: {one_line(error)}")
    try:
        points = parse_keypoints(annotation.get("keypoints"))
    except MALFORMED as error:
        faults.append(f"keypoints left out: {one_line(error)}")
    if box is not None and (box[0] >= box[2] or box[1] >= box[3]) and (rings or points):
        box = None
    if box is None and not rings and not points and rle is None:
        told = faults[0] if faults else "no bbox, no segmentation, no keypoints"
        return [Problem("", location, told, category=category)]
    shape = Shape(category, box, rings, points, _texts(annotation.get("expressions")), rle, location)
    return [*(Problem("", location, fault) for fault in faults), shape]


def _outline(segmentation: object) -> tuple[tuple[Polygon, ...], dict[str, Any] | None, list[str]]:
    """Rings, or run lengths, and what is wrong with the rings that are left out; empty rings are nothing."""
    if segmentation is None:
        return (), None, []
    if isinstance(segmentation, list) and len(segmentation) == 1 and isinstance(segmentation[0], dict):
        segmentation = segmentation[0]
    if isinstance(segmentation, dict):
        return (), segmentation, []
    if not isinstance(segmentation, list):
        raise TypeError(f"segmentation is {type(segmentation).__name__}")
    listed = [segmentation] if segmentation and isinstance(segmentation[0], int | float) else segmentation
    rings, lost = [], []
    for flat in listed:
        try:
            rings += [_ring(flat)] if flat else []
        except MALFORMED as error:
            lost.append(f"a ring left out: {one_line(error)}")
    return tuple(rings), None, lost


def _ring(flat: Sequence[Any]) -> Polygon:
    """A ring from x1, y1, x2, y2, ..., or from pairs."""
    if flat and all(isinstance(point, list) and len(point) == 2 for point in flat):
        flat = [value for point in flat for value in point]
    if len(flat) % 2:
        raise ValueError("polygon with an odd number of values")
    return tuple((float(x), float(y)) for x, y in zip(flat[::2], flat[1::2], strict=True))


def _texts(expressions: object) -> tuple[str, ...]:
    """The expressions that `vilam publish` writes beside an object."""
    return tuple(map(str, expressions)) if isinstance(expressions, list) else ()
