"""``rec_mask``: the mask of the region that an expression means, as closed clockwise polygons of 25 points, one a part.

Scores, in pixels of the original image: ``iou`` 0..1, and ``intersection`` and ``union`` in square pixels, whose sums
give the cumulative IoU of many regions. An answer has at most MAX_PARTS parts, the largest ones; the mask that it is
scored against has all parts.
"""

from __future__ import annotations

import re

import numpy as np

from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.geometry.polygons import area, resample
from vilam.tasks.answers import counted, points_text, read_points
from vilam.tasks.base import GroundingTask, Reading
from vilam.tasks.grammar import AND, Grammar, Points, repeated

MAX_PARTS = 3
NUM_POINTS = 25
_ANSWER = re.compile(r"([1-9]) parts?: (\[.*\])")


class RecMask(GroundingTask):
    """Referring segmentation; ``2 parts: [[x1, y1], ..., [x1, y1]] and [[x1, y1], ..., [x1, y1]]``, largest first."""

    name = "rec_mask"
    direction = "rec"
    uses = "one"
    templates = (
        "Segment {expression} in the image.",
        "Segment {expression}.",
        "Outline {expression} in the image.",
        "Outline {expression}.",
        "Trace {expression} in the image.",
        "Give the outline of {expression}.",
        "Give the polygon of {expression}.",
        "Draw the outline of {expression}.",
        "Find the outline of {expression}.",
        "What is the outline of {expression}?",
        "Show the mask of {expression}.",
        "What is the mask of {expression}?",
    )

    def applies(self, region: Region, card: DatasetCard) -> bool:
        """Regions with an expression and a polygon."""
        return bool(region.expressions) and any(area(ring) for ring in region.polygons)

    def answer(self, record: ImageRecord, region: Region, expression: Expression | None, template: int = 0) -> str:
        """The number of parts and the polygon of each part."""
        areas = {ring: abs(area(ring)) for ring in region.polygons}
        largest = sorted((ring for ring in areas if areas[ring] > 0), key=areas.__getitem__, reverse=True)[:MAX_PARTS]
        rings = (resample(ring, NUM_POINTS) for ring in largest)
        texts = (points_text(ring, record.width, record.height, closed=True) for ring in rings)
        return counted(len(largest), "part") + AND.join(texts)

    def grammar(self, card: DatasetCard) -> Grammar:
        """One alternative for each number of parts."""
        return tuple(
            repeated(counted(count, "part"), Points(NUM_POINTS, closed=True), count)
            for count in range(1, MAX_PARTS + 1)
        )

    def parse(self, answer: str, width: int, height: int) -> Reading | None:
        """Parse a number and exactly as many closed polygons of NUM_POINTS points."""
        match = _ANSWER.fullmatch(answer)
        if match is None or not answer.startswith(counted(int(match[1]), "part")):
            return None
        parsed = [read_points(text, width, height) for text in match[2].split(AND)]
        rings = tuple(ring[:-1] for ring in parsed if ring and len(ring) == NUM_POINTS + 1 and ring[0] == ring[-1])
        return Reading(polygons=rings) if len(rings) == len(parsed) == int(match[1]) <= MAX_PARTS else None

    def score(self, reading: Reading, record: ImageRecord, region: Region, card: DatasetCard) -> dict[str, float]:
        """``iou``, ``intersection`` and ``union`` of the two masks."""
        from vilam.data.masks import polygons_to_mask  # its libraries are not needed to answer

        predicted = polygons_to_mask(reading.polygons or (), record.width, record.height)
        truth = polygons_to_mask(region.polygons, record.width, record.height)
        intersection, union = np.count_nonzero(predicted & truth), np.count_nonzero(predicted | truth)
        iou = intersection / union if union else 0.0
        return {"iou": float(iou), "intersection": float(intersection), "union": float(union)}
