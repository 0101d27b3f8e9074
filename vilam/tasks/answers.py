"""Boxes and points in the paper's words: whole numbers 0-1000, x of the image's width and y of its height."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from vilam.data.records import Point
from vilam.geometry.boxes import Box, scale_1000, unscale_1000

_NUMBER = "(?:0|[1-9][0-9]{0,2}|1000)"
_BOX = re.compile(rf"\[({_NUMBER}), ({_NUMBER}), ({_NUMBER}), ({_NUMBER})\]")
_PAIR = rf"\[{_NUMBER}, {_NUMBER}\]"
_POINTS = re.compile(rf"\[{_PAIR}(?:, {_PAIR})*\]")
_DIGITS = re.compile("[0-9]+")


@lru_cache(maxsize=1024)
def box_text(box_xyxy: Box, width: int, height: int) -> str:
    """``[x1, y1, x2, y2]`` of a pixel box; one thinner than a step is widened to one, so that it can be read back."""
    x1, y1, x2, y2 = scale_1000(box_xyxy, width, height).tolist()
    x1, x2 = _apart(x1, x2)
    y1, y2 = _apart(y1, y2)
    return f"[{x1}, {y1}, {x2}, {y2}]"


def read_box(text: str, width: int, height: int) -> Box | None:
    """The pixel box of ``[x1, y1, x2, y2]``; None where it is anything else or has no area."""
    match = _BOX.fullmatch(text)
    if match is None:
        return None
    x1, y1, x2, y2 = (int(number) for number in match.groups())
    if x1 >= x2 or y1 >= y2:
        return None
    left, top, right, bottom = unscale_1000((x1, y1, x2, y2), width, height).tolist()
    return left, top, right, bottom


def points_text(numbers: Sequence[Sequence[int]], closed: bool = False) -> str:
    """``[[x, y], ...]`` of points already in 0-1000; ``closed`` repeats the first one at the end."""
    pairs = [f"[{x}, {y}]" for x, y in numbers]
    return f"[{', '.join(pairs + pairs[:1] if closed else pairs)}]"


def read_points(text: str, width: int, height: int) -> tuple[Point, ...] | None:
    """The points of ``[[x, y], ...]`` in pixels; None where it is anything else."""
    if _POINTS.fullmatch(text) is None:
        return None
    numbers = [int(number) for number in _DIGITS.findall(text)]
    pixels = unscale_1000(list(zip(numbers[::2], numbers[1::2], strict=True)), width, height)
    return tuple((x, y) for x, y in pixels.tolist())


def counted(count: int, noun: str, ending: str = "s") -> str:
    """How a counted answer begins: ``1 part: ``, ``4 keypoints: ``; ``ending`` makes several of the noun."""
    return f"{count} {noun}: " if count == 1 else f"{count} {noun}{ending}: "


def _apart(low: int, high: int) -> tuple[int, int]:
    if low < high:
        return low, high
    low = min(low, 999)
    return low, low + 1
