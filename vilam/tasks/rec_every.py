"""``rec_every``: the boxes of all regions that an expression means: several, one, or none.

Scores, as in generalized referring expression comprehension (GREC, arXiv 2308.16182): ``f1`` of the boxes found, at
IoU 0.5; ``perfect``, 1 if F1 is 1; ``perfect_giou``, the same at a generalised IoU of 0.5; ``existence_correct``, 1 if
the answer is right about whether there is any region; ``num_true``, the number of true regions. If there are none, the
answer "none" has an F1 of 1 and any other answer 0.

An answer has at most MAX_BOXES boxes, the largest ones, from left to right; it is scored against all regions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from vilam.data.records import DatasetCard, Group, ImageRecord
from vilam.geometry import boxes
from vilam.tasks.answers import box_text, counted, read_box
from vilam.tasks.base import GroupTask, Reading
from vilam.tasks.grammar import AND, Box, Grammar, Literal, repeated

MAX_BOXES = 20
MIN_IOU = 0.5
NONE = "none"
_ANSWER = re.compile(r"([1-9][0-9]?) box(?:es)?: (\[.*\])")


class RecEvery(GroupTask):
    """Generalized referring box detection; ``2 boxes: [x1, y1, x2, y2] and [x1, y1, x2, y2]`` or ``none``."""

    name = "rec_every"
    templates = (
        "Find everything that fits {expression}.",
        "Locate everything that fits {expression}.",
        "Detect everything that fits {expression}.",
        "Mark everything that fits {expression}.",
        "Where is everything that fits {expression}?",
        "Which bounding boxes fit {expression}?",
        "Give all bounding boxes of {expression}.",
        "Show all bounding boxes of {expression}.",
        "List all bounding boxes of {expression}.",
        "What are the bounding boxes of {expression}?",
    )

    def answer(self, record: ImageRecord, group: Group) -> str:
        """The number of boxes and the boxes, or ``none``."""
        true = [region.box_xyxy for region in record.members(group)]
        largest = sorted(true, key=lambda box: -float(boxes.area(box)))[:MAX_BOXES]
        texts = [box_text(box, record.width, record.height) for box in sorted(largest)]
        return _count(len(texts)) + AND.join(texts) if texts else NONE

    def grammar(self, card: DatasetCard) -> Grammar:
        """``none``, or an alternative for each number of boxes."""
        return ((Literal(NONE),), *(repeated(_count(count), Box(), count) for count in range(1, MAX_BOXES + 1)))

    def parse(self, answer: str, width: int, height: int) -> Reading | None:
        """Parse ``none``, or a number and exactly as many boxes."""
        if answer == NONE:
            return Reading(boxes=())
        match = _ANSWER.fullmatch(answer)
        if match is None or not answer.startswith(_count(int(match[1]))):
            return None
        parsed = [read_box(text, width, height) for text in match[2].split(AND)]
        found = tuple(box for box in parsed if box)
        return Reading(boxes=found) if len(found) == len(parsed) == int(match[1]) <= MAX_BOXES else None

    def score(self, reading: Reading, record: ImageRecord, group: Group) -> dict[str, float]:
        """``f1``, ``perfect``, ``perfect_giou``, ``existence_correct`` and ``num_true``."""
        true = [region.box_xyxy for region in record.members(group)]
        f1, f1_giou = 0.0, 0.0
        if reading.boxes is not None:
            f1, f1_giou = box_f1(reading.boxes, true), box_f1(reading.boxes, true, boxes.giou)
        scores = {
            "f1": f1,
            "perfect": f1 == 1,
            "perfect_giou": f1_giou == 1,
            "existence_correct": reading.boxes is not None and bool(reading.boxes) == bool(true),
            "num_true": len(true),
        }
        return {name: float(value) for name, value in scores.items()}


def box_f1(
    found: Sequence[boxes.Box],
    true: Sequence[boxes.Box],
    overlap: Callable[[Sequence[boxes.Box], Sequence[boxes.Box]], boxes.FloatArray] = boxes.iou,
) -> float:
    """F1 of boxes with an ``overlap`` of at least 0.5; 1 if both are empty.

    Boxes are matched greedily, the pair with the highest overlap first, as in the script of gRefCOCO's authors. Their
    paper says IoU, and their script computes the generalised IoU.
    """
    if not found or not true:
        return float(not found and not true)
    ious = overlap(found, true)
    pairs = 0
    while ious.max() >= MIN_IOU:
        row, column = divmod(int(ious.argmax()), ious.shape[1])
        ious[row, :] = ious[:, column] = -1.0
        pairs += 1
    return 2 * pairs / (len(found) + len(true))


def _count(count: int) -> str:
    return counted(count, "box", "es")
