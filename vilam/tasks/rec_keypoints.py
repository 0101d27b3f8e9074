"""``rec_keypoints``: the keypoints of the region that an expression means. Scores: ``oks`` and ``pck``, 0..1.

An answer has all keypoints of the category's schema, in its order, and ``[0, 0]`` for unlabelled ones, as in COCO. The
paper's figures list only the labelled points; but then it is not known which point is which, and OKS compares point by
point.
"""

from __future__ import annotations

import re

from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.geometry import boxes, polygons
from vilam.geometry.keypoints import oks, pck
from vilam.tasks.answers import counted, points_text, read_points
from vilam.tasks.base import GroundingTask, Reading
from vilam.tasks.grammar import Grammar, Literal, Points

_ANSWER = re.compile(r"([1-9][0-9]{0,3}) keypoints?: (\[.*\])")
BOX_AREA_FRACTION = 0.53
"""Fraction of its box that an object without a mask covers, as COCO-style evaluations assume (CrowdPose, MMPose)."""


class RecKeypoints(GroundingTask):
    """Referring keypoints detection; the answer is ``4 keypoints: [[x, y], [x, y], [x, y], [x, y]]``."""

    name = "rec_keypoints"
    direction = "rec"
    uses = "one"
    templates = (
        "Where are the keypoints of {expression}?",
        "Find the keypoints of {expression}.",
        "Locate the keypoints of {expression}.",
        "Detect the keypoints of {expression}.",
        "Give the keypoints of {expression}.",
        "What are the keypoints of {expression}?",
        "Show the keypoints of {expression}.",
        "Mark the keypoints of {expression}.",
        "List the keypoints of {expression}.",
        "Find all keypoints of {expression}.",
    )

    def applies(self, region: Region, card: DatasetCard) -> bool:
        """Described regions with a labelled keypoint and as many keypoints as their category's schema."""
        schema = card.keypoints.get(region.category)
        if schema is None or not region.expressions or len(region.keypoints) != len(schema.names):
            return False
        return any(v > 0 for _, _, v in region.keypoints)

    def answer(self, record: ImageRecord, region: Region, expression: Expression | None, template: int = 0) -> str:
        """The number of keypoints and the points in the schema's order."""
        points = [(x, y) if v > 0 else (0.0, 0.0) for x, y, v in region.keypoints]
        return counted(len(points), "keypoint") + points_text(points, record.width, record.height)

    def grammar(self, card: DatasetCard) -> Grammar:
        """One alternative for each number of keypoints that a category of the data set has."""
        counts = sorted({len(schema.names) for schema in card.keypoints.values()})
        return tuple((Literal(counted(count, "keypoint")), Points(count)) for count in counts)

    def parse(self, answer: str, width: int, height: int) -> Reading | None:
        """Parse a number and exactly as many points."""
        match = _ANSWER.fullmatch(answer)
        points = read_points(match[2], width, height) if match else None
        if match is None or points is None or len(points) != int(match[1]):
            return None
        return Reading(points=points) if answer.startswith(counted(len(points), "keypoint")) else None

    def score(self, reading: Reading, record: ImageRecord, region: Region, card: DatasetCard) -> dict[str, float]:
        """``oks`` and ``pck`` over the labelled keypoints; 0 if the answer has a different number of points."""
        sigmas = card.keypoints[region.category].sigmas
        if reading.points is None or len(reading.points) != len(region.keypoints):
            return {"oks": 0.0, "pck": 0.0}
        return {
            "oks": oks(reading.points, region.keypoints, _object_area(region), sigmas),
            "pck": pck(reading.points, region.keypoints, region.box_xyxy),
        }


def _object_area(region: Region) -> float:
    """Area of the polygons in square pixels, or BOX_AREA_FRACTION of that of the box if there are none."""
    if region.polygons:
        return sum(abs(polygons.area(ring)) for ring in region.polygons)
    return BOX_AREA_FRACTION * float(boxes.area(region.box_xyxy))
