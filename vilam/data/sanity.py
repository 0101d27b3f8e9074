"""Nonsense that the numbers of a whole set tell: wrong units, wrong corners, odd pictures, one class of nearly all."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from vilam.data.readers.source import RawRecord
from vilam.geometry.boxes import Box

MOST = 0.5
"""The fraction of boxes above which something is wrong with all of them."""
MANY_OVERRUN = 0.2
"""The fraction of boxes that leave their picture if their width and height are really a second corner, at least."""
FEW = 5
"""Boxes that a set must have before fractions of them mean something."""
SLACK, SLACK_FRACTION = 2.0, 0.02
"""Pixels, and fraction of the side, by which rounding may move a box out of its picture."""
WHOLE = 0.98
"""The fraction of the picture that a box covers if it means the picture."""
ONE_CLASS = 0.99
LONG = 200
"""Length in widths above which some models, such as Qwen-VL, refuse a picture."""
WORDY = 1000
"""Characters of an expression above which training on it is slow and takes gigabytes."""
PIXELS = 50_000_000
"""Four times what Qwen2.5-VL sees of a picture, at most (12.8 million pixels)."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is odd about a set, where, and what to do.

    blocks: whether training or evaluation cannot work with it. later: whether it can still be prepared, for other
    settings or for publication, so that `activate` is the first stage that it stops.
    """

    text: str
    blocks: bool = False
    later: bool = False


class Statistics:
    """Counts over the rows as their files have them, not yet clipped."""

    def __init__(self) -> None:
        self.boxes = self.tiny = self.fractions = self.overrun = self.whole = 0
        self.long: list[str] = []
        self.large: list[str] = []
        self.wordy: list[str] = []

    def add(self, row: RawRecord) -> None:
        """Count a picture and its boxes."""
        width, height, name = row.record.width, row.record.height, row.record.image_id
        if max(width, height) > LONG * min(width, height):
            self.long.append(name)
        if width * height > PIXELS:
            self.large.append(name)
        for region in row.record.regions:
            self._add_box(region.box_xyxy, width, height)
            self.wordy += (name for expression in region.expressions if len(expression.text) > WORDY)

    def _add_box(self, box: Box, width: int, height: int) -> None:
        x1, y1, x2, y2 = box
        self.boxes += 1
        self.tiny += x2 - x1 < 1 and y2 - y1 < 1
        self.fractions += max(box) <= 2 and min(width, height) > 2  # from 0 to 1, and a width added
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
            self.overrun += any(
                (_over(x2, width), _over(y2, height), _over(width - x1, width), _over(height - y1, height))
            )
        self.whole += (min(x2, width) - max(x1, 0)) * (min(y2, height) - max(y1, 0)) >= WHOLE * width * height

    def notes(self, refuses_long: bool = False) -> Iterator[Note]:
        """What is odd about boxes and pictures; refuses_long: whether the model refuses pictures above `LONG`."""
        if self.fractions > MOST * self.boxes:
            yield Note(
                f"{self.fractions} of {self.boxes} boxes lie in the first pixels: coordinates are fractions of 0 to 1 "
                "that were read as pixels: write pixels, or name the unit in a recipe",
                True,
            )
        elif self.tiny > MOST * self.boxes:
            yield Note(f"{self.tiny} of {self.boxes} boxes are smaller than a pixel: check their unit", True)
        if self.boxes >= FEW and self.overrun > MANY_OVERRUN * self.boxes:
            yield Note(
                f"{self.overrun} of {self.boxes} boxes leave their picture: is x1 y1 x2 y2 read as x y width height "
                "or as centre and size, or are they of a picture of another size?",
                True,
            )
        if self.boxes >= FEW and self.whole > MOST * self.boxes:
            yield Note(f"{self.whole} of {self.boxes} boxes cover the whole picture: are they labels of pictures?")
        if self.long:
            who = "the model of params.yaml refuses them" if refuses_long else "Qwen-VL would refuse them"
            yield Note(
                f"{len(self.long)} pictures are more than {LONG} times as long as wide, such as {self.long[0]}: "
                f"{who}: cut them",
                refuses_long,
            )
        if self.large:
            yield Note(
                f"{len(self.large)} pictures have more than {PIXELS // 10**6} million pixels, such as {self.large[0]}: "
                "every model shrinks them, small objects vanish: cut them into tiles"
            )
        if self.wordy:
            yield Note(
                f"{len(self.wordy)} expressions have more than {WORDY} characters, such as one of {self.wordy[0]}: "
                "training on them is slow and takes much memory: shorten them"
            )


def _over(end: float, side: int) -> bool:
    return end > side + max(SLACK, SLACK_FRACTION * side)


def category_notes(categories: Counter[str]) -> Iterator[Note]:
    """What is odd about the numbers of regions by category."""
    total = categories.total()
    if not total:
        return
    name, most = categories.most_common(1)[0]
    if len(categories) > 1 and most >= ONE_CLASS * total:
        yield Note(f"{most} of {total} objects are of {name}: the others are too few to be learnt")
    if missing := [name for name, count in categories.items() if not count]:
        shown = ", ".join(missing if len(missing) <= FEW else [*missing[:FEW], "…"])
        yield Note(f"{len(missing)} categories have no object: {shown}")
    alike: dict[str, list[str]] = defaultdict(list)
    for name in categories:
        alike[re.sub(r"[\W_]+", "", name.casefold())].append(name)
    for names in alike.values():
        if len(names) > 1:
            yield Note(f"categories {' and '.join(map(repr, names))} differ only in case, spaces or marks: one name?")
