"""How checkpoints write coordinates, and the way from the paper's text to each format and back.

Everywhere else in vilam, coordinates are the paper's text (vilam/tasks/answers.py): numbers 0-1000 of an image's sides,
with decimals, so that each is rounded once, here. A checkpoint may count something else (pixels of the resized image,
1,024 tokens, cells of a grid), and count it in another frame (the square to which the image was padded). The `Frame`
says which. The formats of published checkpoints are in configs/conventions, one file each
(vilam/models/hf/conventions.py).

The composed model can also write each coordinate as a token of its own. In this token form a box is ``<box> x y x y``
and a list of points ``<points> x y x y ... </points>``. The added tokens have ids behind the words: first the three
marks, then the bins of x, then the bins of y. Tokens of x and of y differ, so the text form's brackets and commas need
no tokens (vilam/models/vilam/coordinates.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from vilam.data.records import Point
from vilam.models.place_texts import GAP, PointsTemplate, Template, as_text
from vilam.tasks.answers import GROUP, SCALE, box_text, group_numbers, points_text, widened

Bounds = tuple[tuple[int, int], tuple[int, int]]
"""The smallest and the largest x, the smallest and the largest y."""
ROUNDING = 1e-6
"""The error of floats that is ignored, as a fraction of a bin."""
LARGEST_PIXEL = 16384
"""The largest coordinate in pixels that can be written."""
BOX, POINTS, POINTS_END = 0, 1, 2
"""The marks of the token form, as offsets from the first added token."""
NUM_MARKS = 3
"""The offset of the first bin of x."""
BRACKETS = Template.parse("[{x1}, {y1}, {x2}, {y2}]")
LIST = PointsTemplate("[", Template.parse("[{x}, {y}]"), ", ", "]")
"""The paper's box and list of points."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A model's input of ``width`` x ``height`` pixels, and the image's edges in it: left, top, right, bottom."""

    width: int
    height: int
    image: tuple[float, float, float, float]

    @classmethod
    def filled(cls, width: int, height: int) -> Frame:
        """The image fills the frame: a plain resize that ignores the aspect ratio."""
        return cls(width, height, (0.0, 0.0, float(width), float(height)))

    @classmethod
    def padded(cls, side: int, width: int, height: int) -> Frame:
        """A width x height image in the centre of a square, which is resized to ``side``."""
        longest = max(width, height)
        inner_width, inner_height = side * width / longest, side * height / longest
        left, top = (side - inner_width) / 2, (side - inner_height) / 2
        return cls(side, side, (left, top, left + inner_width, top + inner_height))

    def fractions(self, point: Point) -> Point:
        """A point in fractions of the image's sides -> in fractions of the frame's sides."""
        left, top, right, bottom = self.image
        x, y = point
        return (left + x * (right - left)) / self.width, (top + y * (bottom - top)) / self.height

    def image_fractions(self, point: Point) -> Point:
        """A point in fractions of the frame's sides -> in fractions of the image's sides, moved into the image."""
        left, top, right, bottom = self.image
        x = (point[0] * self.width - left) / (right - left)
        y = (point[1] * self.height - top) / (bottom - top)
        return min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)


@dataclass(frozen=True)
class CoordinateFormat:
    """How a checkpoint writes coordinates.

    unit: what a number counts. ``side``: ``bins`` equal parts of each side of the frame. ``pixel``: pixels of the
    frame. ``cell``: the cells of a grid of ``bins`` x ``bins``, row by row, one number for both coordinates of a point.
    number: the format string of one number (``{:04d}``). end: what is written at the end of a side, if that is not
    ``bins``: 1 for fractions, 100 for percent.
    rounding: ``round`` to the nearest edge of a bin, or ``floor`` to the bin that holds a coordinate, 0 to bins - 1.
    reads: the place that a number means, the ``edge`` or the ``centre`` of its bin.
    box, points: the texts around and between the numbers.
    source: the document that describes it.
    """

    unit: Literal["side", "pixel", "cell"]
    bins: int
    number: str
    source: str
    end: int | None = None
    rounding: Literal["round", "floor"] = "round"
    reads: Literal["edge", "centre"] = "edge"
    box: Template = BRACKETS
    points: PointsTemplate = LIST

    @property
    def order(self) -> Literal["xy", "yx"]:
        """Which coordinate of a point is written first."""
        return "yx" if self.box.fields[0] == "y1" else "xy"

    @property
    def largest(self) -> int:
        """The largest number that can be written in any frame."""
        return {"side": self._last, "cell": self.bins**2 - 1, "pixel": LARGEST_PIXEL}[self.unit]

    @property
    def _last(self) -> int:
        """The largest number of a side that is divided into bins."""
        return self.bins - 1 if self.unit == "cell" or self.rounding == "floor" else self.bins

    def limits(self, frame: Frame) -> tuple[int, int]:
        """The largest numbers of x and of y in a frame; the last column and row if the unit is a cell."""
        return (frame.width, frame.height) if self.unit == "pixel" else (self._last, self._last)

    def bounds(self, frame: Frame) -> Bounds:
        """The smallest and the largest number of x, and of y, between which the whole image lies."""
        start, end = frame.fractions((0.0, 0.0)), frame.fractions((1.0, 1.0))
        x, y = (
            (math.floor(low * size + ROUNDING), min(self._up(high * size), limit))
            for low, high, size, limit in zip(start, end, self._sizes(frame), self.limits(frame), strict=True)
        )
        return x, y

    def _sizes(self, frame: Frame) -> tuple[int, int]:
        """The number of bins, or of pixels, along each side."""
        return (frame.width, frame.height) if self.unit == "pixel" else (self.bins, self.bins)

    def _up(self, value: float) -> int:
        """The largest number of a coordinate up to ``value`` bins."""
        return math.floor(value + ROUNDING) if self.rounding == "floor" else math.ceil(value - ROUNDING)

    def _rounded(self, value: float, limit: int) -> int:
        """The number of a coordinate of ``value`` bins."""
        return min(math.floor(value), limit) if self.rounding == "floor" else round(value)

    def spell(self, number: int) -> str:
        """A number as text."""
        return self.number.format(number if self.end is None else number * self.end / self.bins)

    def encode(self, text: str, frame: Frame) -> str:
        """The paper's text -> the same text with every box and list of points in this format."""
        return GROUP.sub(lambda match: "".join(self.pieces(match.group(), frame)), text)

    def decode(self, text: str, frame: Frame) -> str:
        """Text with boxes and lists of points in this format -> the paper's text; what cannot be read is kept.

        Spaces between numbers and brackets may be missing, because some tokenizers lose them.
        """
        return self._group.sub(lambda match: self._decoded(match, frame), text)

    def pieces(self, group: str, frame: Frame) -> list[str]:
        """A box or list of points of the paper's text as pieces of text in this format: numbers, and brackets."""
        fractions = [number / SCALE for number in group_numbers(group)]
        if group.startswith("[["):
            return self._points_pieces(list(zip(fractions[::2], fractions[1::2], strict=True)), frame)
        return self._box_pieces(fractions, frame)

    def box_text(self, corners: Sequence[float], frame: Frame) -> str:
        """A box, x1 y1 x2 y2 in fractions of the image's sides; one thinner than a bin is widened to a bin."""
        return "".join(self._box_pieces(corners, frame))

    def points_text(self, points: Sequence[Point], frame: Frame) -> str:
        """Points, x y in fractions of the image's sides."""
        return "".join(self._points_pieces(points, frame))

    def _box_pieces(self, corners: Sequence[float], frame: Frame) -> list[str]:
        start, end = frame.fractions((corners[0], corners[1])), frame.fractions((corners[2], corners[3]))
        if self.unit == "cell":
            spans = [self._cells(*ends) for ends in zip(start, end, strict=True)]
        else:
            last = frame.fractions((1.0, 1.0))
            sides = zip(start, end, last, self._sizes(frame), self.limits(frame), strict=True)
            spans = [self._span(*side) for side in sides]
        first, second = (self._ordered(pair) for pair in zip(*spans, strict=True))
        return self.box.around([[self.spell(number)] for number in [*first, *second]], as_text)

    def _span(self, start: float, end: float, last: float, size: int, limit: int) -> tuple[int, int]:
        """The numbers of a span in fractions of the frame; one thinner than a bin is widened to the bin that holds it.

        last: the end of the image in the frame. size: the number of bins. limit: the largest number.
        """
        inside = math.floor((start + end) / 2 * size)
        low, high = self._rounded(start * size, limit), self._rounded(end * size, limit)
        return widened(low, high, inside, min(self._up(last * size), limit))

    def _cells(self, start: float, end: float) -> tuple[int, int]:
        """The first and the last column, or row, of a span in fractions of the frame."""
        first = self._cell(start)
        return first, max(first, min(math.ceil(end * self.bins) - 1, self.bins - 1))

    def _cell(self, fraction: float) -> int:
        return min(math.floor(fraction * self.bins), self.bins - 1)

    def _ordered(self, pair: Sequence[int]) -> Sequence[int]:
        """The written numbers of an x and a y."""
        if self.unit == "cell":
            return [pair[1] * self.bins + pair[0]]
        return pair if self.order == "xy" else pair[::-1]

    def _points_pieces(self, points: Sequence[Point], frame: Frame) -> list[str]:
        numbers = (self._point_numbers(point, frame) for point in points)
        return self.points.around([[[self.spell(number)] for number in each] for each in numbers], as_text)

    def _point_numbers(self, point: Point, frame: Frame) -> Sequence[int]:
        x, y = frame.fractions(point)
        if self.unit == "cell":
            return self._ordered([self._cell(x), self._cell(y)])
        sides = zip((x, y), self._sizes(frame), self.limits(frame), strict=True)
        return self._ordered([self._rounded(value * size, limit) for value, size, limit in sides])

    def read_box(self, text: str, frame: Frame) -> tuple[float, float, float, float] | None:
        """The corners of a box, in fractions of the image's sides; None if the text is no box."""
        match = re.fullmatch(self._box_pattern, text)
        if match is None:
            return None
        numbers = [*map(self._number, match.groups())]
        half = len(numbers) // 2
        if self.unit == "cell":
            first, second = self._corners(numbers[0], numbers[1])
        else:
            first, second = self._read_point(numbers[:half], frame), self._read_point(numbers[half:], frame)
        return (*frame.image_fractions(first), *frame.image_fractions(second))

    def read_points(self, text: str, frame: Frame) -> list[Point] | None:
        """Points, in fractions of the image's sides; None if the text is no list of points."""
        if re.fullmatch(self._points_pattern, text) is None:
            return None
        begin = re.match(GAP.join(self.points.start(self._space)), text)
        points = re.compile(self.points.point.pattern(self._number_pattern, self._space))
        found = points.finditer(text, begin.end() if begin else 0)
        numbers = ([*map(self._number, match.groups())] for match in found)
        return [frame.image_fractions(self._read_point(each, frame)) for each in numbers]

    def _decoded(self, match: re.Match[str], frame: Frame) -> str:
        text, whole = match.group(), match.string
        # Some tokenizers lose the spaces around a group.
        before, after = whole[: match.start()][-1:], whole[match.end() :][:1]
        left, right = " " * (before.isalnum() or before in list(":,;")), " " * after.isalnum()
        return left + self._decoded_group(text, frame) + right

    def _decoded_group(self, text: str, frame: Frame) -> str:
        corners = self.read_box(text, frame)
        if corners is None:
            points = self.read_points(text, frame) or ()
            return points_text(points, 1, 1)
        x1, y1, x2, y2 = corners
        if x1 < x2 and y1 < y2:
            return box_text(corners, 1, 1)
        # A box without area is invalid and must stay so.
        return f"[{', '.join(str(round(value * SCALE)) for value in corners)}]"

    def _read_point(self, numbers: Sequence[int], frame: Frame) -> Point:
        """The point of two numbers, or the centre of a cell, in fractions of the frame."""
        if self.unit == "cell":
            row, column = divmod(numbers[0], self.bins)
            return (column + 0.5) / self.bins, (row + 0.5) / self.bins
        x, y = numbers if self.order == "xy" else numbers[::-1]
        width, height = self._sizes(frame)
        inset = 0.5 if self.reads == "centre" else 0.0
        return min((x + inset) / width, 1.0), min((y + inset) / height, 1.0)

    def _corners(self, first: int, last: int) -> tuple[Point, Point]:
        """The box of two cells: between their centres, or the whole cells if they lie in one row or column."""
        (top, left), (bottom, right) = divmod(first, self.bins), divmod(last, self.bins)
        inset = 0.0 if top == bottom or left == right else 0.5
        return (
            ((left + inset) / self.bins, (top + inset) / self.bins),
            ((right + 1 - inset) / self.bins, (bottom + 1 - inset) / self.bins),
        )

    def _number(self, digits: str) -> int:
        """The number that is written as ``digits``."""
        return int(digits) if self.end is None else round(float(digits) * self.bins / self.end)

    @cached_property
    def _number_pattern(self) -> str:
        """A regular expression of one number, with a group of its digits."""
        before, after = re.split(r"\{.*\}", self.number)
        whole = "[0-9]{1,5}" if self.end is None else "[01]" if self.end == 1 else f"[0-9]{{1,{len(str(self.end))}}}"
        digits = whole if self.end is None else rf"{whole}(?:\.[0-9]+)?"
        return f"{re.escape(before)}({digits}){re.escape(after)}"

    @property
    def _space(self) -> str:
        """A regular expression of the space between two numbers: digits alone need it to be told apart."""
        return r"\s+" if self.number.startswith("{") else GAP

    @cached_property
    def _box_pattern(self) -> str:
        return self.box.pattern(self._number_pattern, self._space)

    @cached_property
    def _points_pattern(self) -> str:
        return self.points.pattern(self._number_pattern, self._space)

    @cached_property
    def _group(self) -> re.Pattern[str]:
        return re.compile(f"(?:{self._points_pattern})|(?:{self._box_pattern})")


THOUSANDTHS = CoordinateFormat("side", 1000, "{:d}", "ViLaM (arXiv 2311.12327)")
"""The paper's, which the composed model writes too."""
