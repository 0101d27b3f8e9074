"""What four numbers of a box are, told from all boxes of a set: x, y, width, height, or two corners, or a centre."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vilam.errors import VilamError
from vilam.geometry.boxes import TO_XYXY, Box, BoxOrder

ALLOWED = 0.1
"""The share of boxes that may be wrong in the order that is taken."""
MARGIN = 0.01
"""The share of boxes by which an order must be better than another to be told from it."""
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


def best_orders(boxes: Iterable[tuple[Box, tuple[float, float]]], among: Sequence[BoxOrder]) -> list[BoxOrder]:
    """The orders of some in which the boxes lie best in their pictures: one, if all others are worse for some boxes."""
    found = list(boxes)
    wrong = {order: sum(not _fits(TO_XYXY[order](box), size) for box, size in found) for order in among}
    least = min(wrong.values())
    if least > ALLOWED * len(found):
        return []
    return [order for order in among if wrong[order] <= least + MARGIN * len(found)]


def _fits(box: Box, size: tuple[float, float]) -> bool:
    (x1, y1, x2, y2), (width, height) = box, size
    across, down = SLACK * width, SLACK * height
    return -across <= x1 < x2 <= width + across and -down <= y1 < y2 <= height + down
