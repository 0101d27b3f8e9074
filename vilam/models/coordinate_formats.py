"""The coordinate formats of published checkpoints: one table, and the way from the paper's text to each and back.

Everywhere else in vilam, coordinates are the paper's text (vilam/tasks/answers.py): whole numbers 0-1000 of an image's
sides. A checkpoint may count something else (pixels of the resized image, 1,024 tokens, cells of a grid), and count it
in another frame (the square to which the image was padded). The `Frame` says which.

The composed model can also write each coordinate as a token of its own. In this token form a box is ``<box> x y x y``
and a list of points ``<points> x y x y ... </points>``. The added tokens have ids behind the words: first the three
marks, then the bins of x, then the bins of y. Tokens of x and of y differ, so the text form's brackets and commas need
no tokens (vilam/models/vilam/coordinates.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

from vilam.data.records import Point
from vilam.tasks.answers import GROUP, SCALE, box_text, group_numbers, points_text, widened

Piece = TypeVar("Piece")

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


@dataclass(frozen=True, slots=True)
class Brackets:
    """The texts before, between and after the parts of a group."""

    before: str
    between: str
    after: str

    def around(self, parts: Sequence[Sequence[Piece]], write: Callable[[str], Sequence[Piece]]) -> list[Piece]:
        """The pieces of all parts in order, with what ``write`` makes of the texts around and between them."""
        between = write(self.between)
        inner = [piece for i, part in enumerate(parts) for piece in [*(between if i else []), *part]]
        return [*write(self.before), *inner, *write(self.after)]

    def texts(self, parts: Sequence[Sequence[str]]) -> list[str]:
        """`around` for pieces that are text themselves."""
        return self.around(parts, lambda text: [text] if text else [])

    def pattern(self, part: str, more: str) -> str:
        """A regular expression: ``part``, then further parts, ``more`` of them (a quantifier such as ``{3}`` or ``*``).

        Spaces are optional everywhere, because some tokenizers add or lose them.
        """
        before, between, after = (
            [re.escape(each) for each in text if each != " "] for text in (self.before, self.between, self.after)
        )
        gap = r"\s*"
        repeated = gap.join(["", *between, f"(?:{part})"])
        return gap.join([*before, f"(?:{part})(?:{repeated}){more}", *after])


COMMAS = Brackets("[", ", ", "]")
SPACES = Brackets("[", " ", "]")


@dataclass(frozen=True)
class CoordinateFormat:
    """How a checkpoint writes coordinates.

    unit: what a number counts. ``side``: ``bins`` equal parts of each side of the frame. ``pixel``: pixels of the
    frame. ``cell``: the cells of a grid of ``bins`` x ``bins``, row by row, one number for both coordinates of a point.
    number: the format string of one number (``{:04d}``); if ``decimal``, of a fraction of 1 instead.
    order: which coordinate of a point is written first.
    box, point, points: the texts around and between the numbers of a box, the numbers of a point, the points of a list.
    source: the document that describes it.
    """

    unit: Literal["side", "pixel", "cell"]
    bins: int
    number: str
    source: str
    order: Literal["xy", "yx"] = "xy"
    decimal: bool = False
    box: Brackets = COMMAS
    point: Brackets = COMMAS
    points: Brackets = COMMAS

    @property
    def largest(self) -> int:
        """The largest number that can be written in any frame."""
        return {"side": self.bins, "cell": self.bins**2 - 1, "pixel": LARGEST_PIXEL}[self.unit]

    def limits(self, frame: Frame) -> tuple[int, int]:
        """The largest numbers of x and of y in a frame; the last column and row if the unit is a cell."""
        if self.unit == "pixel":
            return frame.width, frame.height
        last = self.bins - 1 if self.unit == "cell" else self.bins
        return last, last

    def bounds(self, frame: Frame) -> Bounds:
        """The smallest and the largest number of x, and of y, between which the whole image lies."""
        start, end = frame.fractions((0.0, 0.0)), frame.fractions((1.0, 1.0))
        x, y = (
            (math.floor(low * limit + ROUNDING), math.ceil(high * limit - ROUNDING))
            for low, high, limit in zip(start, end, self.limits(frame), strict=True)
        )
        return x, y

    def spell(self, number: int) -> str:
        """A number as text."""
        return self.number.format(number / self.bins if self.decimal else number)

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
            spans = [_span(*ends) for ends in zip(start, end, last, self.limits(frame), strict=True)]
        first, second = (self._ordered(pair) for pair in zip(*spans, strict=True))
        return self.box.texts([[self.spell(number)] for number in [*first, *second]])

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
        return self.points.texts([self._point_pieces(point, frame) for point in points])

    def _point_pieces(self, point: Point, frame: Frame) -> list[str]:
        x, y = frame.fractions(point)
        if self.unit == "cell":
            pair = [self._cell(x), self._cell(y)]
        else:
            pair = [round(value * limit) for value, limit in zip((x, y), self.limits(frame), strict=True)]
        return self.point.texts([[self.spell(number)] for number in self._ordered(pair)])

    def read_box(self, text: str, frame: Frame) -> tuple[float, float, float, float] | None:
        """The corners of a box, in fractions of the image's sides; None if the text is no box."""
        match = re.fullmatch(self._box_pattern, text)
        if match is None:
            return None
        numbers = list(self._read_numbers(match.group()))
        half = len(numbers) // 2
        if self.unit == "cell":
            first, second = self._corners(numbers[0], numbers[1])
        else:
            first, second = self._read_point(numbers[:half], frame), self._read_point(numbers[half:], frame)
        return (*frame.image_fractions(first), *frame.image_fractions(second))

    def read_points(self, text: str, frame: Frame) -> list[Point] | None:
        """Points, in fractions of the image's sides; None if the text is no list of points."""
        match = re.fullmatch(self._points_pattern, text)
        if match is None:
            return None
        numbers = list(self._read_numbers(match.group()))
        size = 1 if self.unit == "cell" else 2
        pairs = (numbers[i : i + size] for i in range(0, len(numbers), size))
        return [frame.image_fractions(self._read_point(pair, frame)) for pair in pairs]

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
            return points_text([(round(x * SCALE), round(y * SCALE)) for x, y in points])
        x1, y1, x2, y2 = (fraction * SCALE for fraction in corners)
        if x1 < x2 and y1 < y2:
            return box_text((x1, y1, x2, y2), SCALE, SCALE)
        # A box without area is invalid and must stay so.
        return f"[{', '.join(str(round(value)) for value in (x1, y1, x2, y2))}]"

    def _read_point(self, numbers: Sequence[int], frame: Frame) -> Point:
        """The point of two numbers, or the centre of a cell, in fractions of the frame."""
        if self.unit == "cell":
            row, column = divmod(numbers[0], self.bins)
            return (column + 0.5) / self.bins, (row + 0.5) / self.bins
        x, y = numbers if self.order == "xy" else numbers[::-1]
        width, height = self.limits(frame)
        return min(x / width, 1.0), min(y / height, 1.0)

    def _corners(self, first: int, last: int) -> tuple[Point, Point]:
        """The box of two cells: between their centres, or the whole cells if they lie in one row or column."""
        (top, left), (bottom, right) = divmod(first, self.bins), divmod(last, self.bins)
        inset = 0.0 if top == bottom or left == right else 0.5
        return (
            ((left + inset) / self.bins, (top + inset) / self.bins),
            ((right + 1 - inset) / self.bins, (bottom + 1 - inset) / self.bins),
        )

    def _read_numbers(self, text: str) -> Iterator[int]:
        for spelled in re.findall(self._number_pattern, text):
            digits = re.sub(r"[^0-9.]", "", spelled)
            yield round(float(digits) * self.bins) if self.decimal else int(digits)

    @cached_property
    def _number_pattern(self) -> str:
        before, after = re.split(r"\{.*\}", self.number)
        digits = r"[01](?:\.[0-9]+)?" if self.decimal else "[0-9]{1,5}"
        return re.escape(before) + digits + re.escape(after)

    @cached_property
    def _box_pattern(self) -> str:
        return self.box.pattern(self._number_pattern, "{1}" if self.unit == "cell" else "{3}")

    @cached_property
    def _points_pattern(self) -> str:
        point = self.point.pattern(self._number_pattern, "{0}" if self.unit == "cell" else "{1}")
        return self.points.pattern(point, "*")

    @cached_property
    def _group(self) -> re.Pattern[str]:
        return re.compile(f"(?:{self._points_pattern})|(?:{self._box_pattern})")


def _span(start: float, end: float, last: float, limit: int) -> tuple[int, int]:
    """The numbers of a span in fractions of the frame; one thinner than a bin is widened to the bin that holds it.

    last: the end of the image in the frame. limit: the largest number.
    """
    inside = math.floor((start + end) / 2 * limit)
    return widened(round(start * limit), round(end * limit), inside, math.ceil(last * limit))


THOUSANDTHS = CoordinateFormat("side", 1000, "{:d}", "ViLaM (arXiv 2311.12327), and Qwen3-VL's cookbook")
PIXELS = CoordinateFormat("pixel", 1, "{:d}", "Qwen2.5-VL (arXiv 2502.13923, 2.1.2): absolute, of the resized image")
LOCATIONS = CoordinateFormat(
    "side",
    1023,
    "<loc{:04d}>",
    "PaliGemma (arXiv 2407.07726): 1,024 tokens, y before x",
    order="yx",
    box=Brackets("", "", ""),
    point=Brackets("", "", ""),
    points=SPACES,
)
HUNDREDTHS = CoordinateFormat(
    "side", 100, "{:.2f}", "LLaVA-1.5 (arXiv 2310.03744): fractions of the padded square", decimal=True
)
CELLS = CoordinateFormat(
    "cell",
    32,
    "<patch_index_{:04d}>",
    "Kosmos-2 (arXiv 2306.14824): the first and the last of 32 x 32 cells",
    box=Brackets("<object>", "", "</object>"),
    point=Brackets("", "", ""),
    points=SPACES,
)
