"""Boxes and points as text in the paper's format: numbers 0-1000, x of the image's width and y of its height.

``[602, 489, 796, 972]`` is a box, ``[[12, 40], [13.5, 52.25]]`` a list of points. All questions and answers have this
format; each model encodes it in its own, and rounds once (vilam/models/coordinate_formats.py). So the numbers have up
to four decimals, a ten-millionth of a side. The paper's own are whole, and so are the composed model's
(`whole_numbers`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

from numpy.typing import ArrayLike

from vilam.data.records import Point
from vilam.geometry.boxes import Box, scale, unscale_1000

SCALE = 1000
"""The largest coordinate: the whole side of an image."""
UNITS = 10_000
"""The parts of a thousandth that are written."""
_NUMBER = r"(?:1000|(?:[1-9][0-9]{0,2}|0)(?:\.[0-9]+)?)"
_PAIR = rf"\[{_NUMBER}, {_NUMBER}\]"
_BOX = rf"\[{_NUMBER}, {_NUMBER}, {_NUMBER}, {_NUMBER}\]"
_POINTS = rf"\[{_PAIR}(?:, {_PAIR})*\]"
GROUP = re.compile(rf"{_POINTS}|{_BOX}")
"""A box or a list of points anywhere in a text."""


def as_words(text: str) -> str:
    """What people wrote, in which nothing is read as coordinates: brackets around numbers become round ones."""
    return GROUP.sub(lambda match: match.group().replace("[", "(").replace("]", ")"), text)


def group_numbers(group: str) -> list[float]:
    """The numbers of a box or of a list of points, in order."""
    return [float(digits) for digits in re.findall("[0-9.]+", group)]


def whole_numbers(group: str) -> Sequence[int]:
    """The numbers of a group, rounded; a box thinner than a thousandth of a side is widened to one."""
    exact = group_numbers(group)
    numbers = [math.floor(number + 0.5) for number in exact]
    has_area = not group.startswith("[[") and exact[0] < exact[2] and exact[1] < exact[3]
    return _with_area(numbers, SCALE) if has_area else numbers


def thousandths(group: str) -> str:
    """A group in whole numbers, as the paper writes it."""
    numbers = [*map(str, whole_numbers(group))]
    return _points(numbers) if group.startswith("[[") else _box(numbers)


@lru_cache(maxsize=1024)
def box_text(box_xyxy: Box, width: int, height: int) -> str:
    """``[x1, y1, x2, y2]`` of a box in pixels of a width x height image.

    A box without area is widened, so that it can be read back.
    """
    units = scale(box_xyxy, width, height, SCALE * UNITS).tolist()
    return _box([*map(_spelled, _with_area(units, SCALE * UNITS))])


def _with_area(numbers: Sequence[int], largest: int) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = numbers
    x1, x2 = widened(x1, x2, x1, largest)
    y1, y2 = widened(y1, y2, y1, largest)
    return x1, y1, x2, y2


def _spelled(units: int) -> str:
    """A number of `UNITS` of a thousandth as a number of thousandths, without zeros at its end."""
    return f"{units / UNITS:.4f}".rstrip("0").rstrip(".")


def _box(numbers: Sequence[str]) -> str:
    return f"[{', '.join(numbers)}]"


def _points(numbers: Sequence[str]) -> str:
    return _box([_box(numbers[i : i + 2]) for i in range(0, len(numbers), 2)])


def read_box(text: str, width: int, height: int) -> Box | None:
    """The box in pixels of ``[x1, y1, x2, y2]``; None if the text is anything else or the box has no area."""
    if re.fullmatch(_BOX, text) is None:
        return None
    x1, y1, x2, y2 = group_numbers(text)
    if x1 >= x2 or y1 >= y2:
        return None
    left, top, right, bottom = unscale_1000((x1, y1, x2, y2), width, height).tolist()
    return left, top, right, bottom


def points_text(points: ArrayLike, width: float, height: float, closed: bool = False) -> str:
    """``[[x, y], ...]`` of points (N, 2) in pixels; ``closed`` repeats the first one at the end."""
    numbers = [_spelled(units) for pair in scale(points, width, height, SCALE * UNITS).tolist() for units in pair]
    return _points(numbers + numbers[:2] if closed else numbers)


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
