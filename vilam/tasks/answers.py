"""Boxes and points as text in the paper's format: integers 0-1000, x of the image's width and y of its height.

``[602, 489, 796, 972]`` is a box and ``[[12, 40], [13, 52]]`` a list of points. All questions and answers have this
format; each model encodes it in its own (vilam/models/coordinate_formats.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from vilam.data.records import Point
from vilam.geometry.boxes import Box, scale_1000, unscale_1000

SCALE = 1000
"""The largest coordinate: the whole side of an image."""
_NUMBER = "(?:1000|[1-9][0-9]{0,2}|0)"
_PAIR = rf"\[{_NUMBER}, {_NUMBER}\]"
_BOX = rf"\[{_NUMBER}, {_NUMBER}, {_NUMBER}, {_NUMBER}\]"
_POINTS = rf"\[{_PAIR}(?:, {_PAIR})*\]"
GROUP = re.compile(rf"{_POINTS}|{_BOX}")
"""A box or a list of points anywhere in a text."""


def as_words(text: str) -> str:
    """What people wrote, in which nothing is read as coordinates: brackets around numbers become round ones."""
    return GROUP.sub(lambda match: match.group().replace("[", "(").replace("]", ")"), text)


def group_numbers(group: str) -> list[int]:
    """The numbers of a box or of a list of points, in order."""
    return [int(digits) for digits in re.findall("[0-9]+", group)]


@lru_cache(maxsize=1024)
def box_text(box_xyxy: Box, width: int, height: int) -> str:
    """``[x1, y1, x2, y2]`` of a box in pixels of a width x height image.

    A box thinner than a thousandth of a side is widened to one, so that it can be read back.
    """
    x1, y1, x2, y2 = scale_1000(box_xyxy, width, height).tolist()
    x1, x2 = widened(x1, x2, x1, SCALE)
    y1, y2 = widened(y1, y2, y1, SCALE)
    return f"[{x1}, {y1}, {x2}, {y2}]"


def read_box(text: str, width: int, height: int) -> Box | None:
    """The box in pixels of ``[x1, y1, x2, y2]``; None if the text is anything else or the box has no area."""
    if re.fullmatch(_BOX, text) is None:
        return None
    x1, y1, x2, y2 = group_numbers(text)
    if x1 >= x2 or y1 >= y2:
        return None
    left, top, right, bottom = unscale_1000((x1, y1, x2, y2), width, height).tolist()
    return left, top, right, bottom


def points_text(numbers: Sequence[Sequence[int]], closed: bool = False) -> str:
    """``[[x, y], ...]`` of points already in 0-1000; ``closed`` repeats the first one at the end."""
    pairs = [f"[{x}, {y}]" for x, y in numbers]
    return f"[{', '.join(pairs + pairs[:1] if closed else pairs)}]"


def read_points(text: str, width: int, height: int) -> tuple[Point, ...] | None:
    """The points of ``[[x, y], ...]`` in pixels; None if the text is anything else."""
    if re.fullmatch(_POINTS, text) is None:
        return None
    numbers = group_numbers(text)
    pixels = unscale_1000(list(zip(numbers[::2], numbers[1::2], strict=True)), width, height)
    return tuple((x, y) for x, y in pixels.tolist())


def counted(count: int, noun: str, ending: str = "s") -> str:
    """The beginning of an answer with a count: ``1 part: ``, ``4 keypoints: ``; ``ending``: of the noun's plural."""
    return f"{count} {noun}: " if count == 1 else f"{count} {noun}{ending}: "


def widened(low: int, high: int, thin: int, largest: int) -> tuple[int, int]:
    """The two ends of a span, the second larger than the first.

    low, high: the ends, rounded. thin: the first end if both are the same number. largest: the upper bound of the
    second end in that case.
    """
    if low < high:
        return low, high
    thin = min(thin, largest - 1)
    return thin, thin + 1
