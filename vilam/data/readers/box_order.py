"""What four numbers of a box are, told from all boxes of a set: x, y, width, height, or two corners, or a centre."""

from __future__ import annotations

from collections.abc import Iterable

from vilam.errors import VilamError
from vilam.geometry.boxes import TO_XYXY, Box, BoxOrder

ALLOWED = 0.1
"""The share of boxes that may be wrong in the order that is taken."""
SLACK = 0.01
"""The share of a side by which a box may stick out of its picture."""


def box_order(boxes: Iterable[tuple[Box, tuple[float, float]]], location: str) -> BoxOrder:
    """The order in which (almost) all boxes lie in their pictures, which are (width, height) in the same unit.

    If several do, the first of `TO_XYXY` is taken, that of Hugging Face's documentation. Raises VilamError if none
    does.
    """
    found = list(boxes)
    for order, convert in TO_XYXY.items():
        wrong = sum(not _fits(convert(box), size) for box, size in found)
        if wrong <= ALLOWED * len(found):
            return order
    first = " ".join(f"{value:g}" for value in found[0][0])
    raise VilamError(
        f"{location}: boxes such as {first} are neither x, y, width, height nor corners, nor centres, of their "
        "pictures: write them as x, y, width, height in pixels"
    )


def _fits(box: Box, size: tuple[float, float]) -> bool:
    (x1, y1, x2, y2), (width, height) = box, size
    across, down = SLACK * width, SLACK * height
    return -across <= x1 < x2 <= width + across and -down <= y1 < y2 <= height + down
