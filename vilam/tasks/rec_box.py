"""``rec_box``: the box of the region that an expression means. Scores: ``iou`` with the true box, 0..1."""

from __future__ import annotations

from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.geometry.boxes import box_iou
from vilam.tasks.answers import box_text, read_box
from vilam.tasks.base import GroundingTask, Reading
from vilam.tasks.grammar import Box, Grammar


class RecBox(GroundingTask):
    """Referring box detection; the answer is ``[x1, y1, x2, y2]``."""

    name = "rec_box"
    direction = "rec"
    templates = (
        "Where is {expression} in the image?",
        "Where is {expression}?",
        "Find {expression} in the image.",
        "Find {expression}.",
        "Locate {expression} in the image.",
        "Locate {expression}.",
        "Detect {expression} in the image.",
        "Give the bounding box of {expression}.",
        "What is the bounding box of {expression}?",
        "Show the bounding box of {expression}.",
        "Find the bounding box of {expression}.",
        "Which bounding box holds {expression}?",
    )

    def applies(self, region: Region, card: DatasetCard) -> bool:
        """Regions with an expression."""
        return bool(region.expressions)

    def answer(self, record: ImageRecord, region: Region, expression: Expression | None, template: int = 0) -> str:
        """The region's box."""
        return box_text(region.box_xyxy, record.width, record.height)

    def grammar(self, card: DatasetCard) -> Grammar:
        """One box."""
        return ((Box(),),)

    def parse(self, answer: str, width: int, height: int) -> Reading | None:
        """Parse ``[x1, y1, x2, y2]``."""
        box = read_box(answer, width, height)
        return None if box is None else Reading(box_xyxy=box)

    def score(self, reading: Reading, record: ImageRecord, region: Region, card: DatasetCard) -> dict[str, float]:
        """``iou``: intersection over union with the true box."""
        return {"iou": box_iou(reading.box_xyxy, region.box_xyxy) if reading.box_xyxy else 0.0}
