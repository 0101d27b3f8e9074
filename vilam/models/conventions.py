"""How checkpoints that ground already write places: one table, and the way from vilam's own text there and back.

Everywhere else in vilam places are the paper's text, ``[x1, y1, x2, y2]`` and ``[[x, y], ...]``, whole numbers 0-1000
of a picture's sides. A checkpoint may count otherwise (pixels of the picture as it was resized, 1,024 tokens, cells of
a grid) and of another thing (the square that the picture was padded to), which is what a `Frame` tells.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

from vilam.models.coordinates import GROUP, NUMBER, SCALE
from vilam.tasks.answers import box_text, points_text

Piece = TypeVar("Piece")
Point = tuple[float, float]
Bounds = tuple[tuple[int, int], tuple[int, int]]
"""The smallest and the largest x, the smallest and the largest y."""
ROUNDING = 1e-6
"""Of a step: what floats may be off."""
LARGEST_PIXEL = 16384
"""Of a side that can be written."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a model sees, ``width`` x ``height`` pixels, and where the picture lies in it: left, top, right, bottom."""

    width: int
    height: int
    picture: tuple[float, float, float, float]

    @classmethod
    def filled(cls, width: int, height: int) -> Frame:
        """The picture is all of it: a plain resize, whatever the aspect ratio was."""
        return cls(width, height, (0.0, 0.0, float(width), float(height)))

    @classmethod
    def padded(cls, side: int, width: int, height: int) -> Frame:
        """A width x height picture in the middle of a square, which is resized to ``side``."""
        longest = max(width, height)
        inner_width, inner_height = side * width / longest, side * height / longest
        left, top = (side - inner_width) / 2, (side - inner_height) / 2
        return cls(side, side, (left, top, left + inner_width, top + inner_height))

    def shares(self, point: Point) -> Point:
        """A point in shares of the picture's sides -> in shares of the frame's."""
        left, top, right, bottom = self.picture
        x, y = point
        return (left + x * (right - left)) / self.width, (top + y * (bottom - top)) / self.height

    def of_picture(self, point: Point) -> Point:
        """A point in shares of the frame's sides -> in shares of the picture's, and inside of it."""
        left, top, right, bottom = self.picture
        x = (point[0] * self.width - left) / (right - left)
        y = (point[1] * self.height - top) / (bottom - top)
        return min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Brackets:
    """What stands before, between and after the parts of a group."""

    before: str
    between: str
    after: str

    def around(self, parts: Sequence[Sequence[Piece]], written: Callable[[str], Sequence[Piece]]) -> list[Piece]:
        """The parts one after the other, with what is ``written`` of these texts around and between them."""
        between = written(self.between)
        inner = [piece for i, part in enumerate(parts) for piece in [*(between if i else []), *part]]
        return [*written(self.before), *inner, *written(self.after)]


COMMAS = Brackets("[", ", ", "]")
SPACES = Brackets("[", " ", "]")


@dataclass(frozen=True)
class Convention:
    """How places are written.

    unit: of what a number counts steps: ``side``, so many steps (``steps``) of each side of the frame; ``pixel`` of the
    frame; ``cell``, one number of a grid of ``steps`` x ``steps`` cells for both coordinates of a corner.
    number: how it is spelled, as a format of one whole number (``{:04d}``), or where ``decimal`` of a share of 1.
    order: which coordinate of a pair stands first. box, point, points: what stands around and between the numbers.
    source: where this was read.
    """

    unit: Literal["side", "pixel", "cell"]
    steps: int
    number: str
    source: str
    order: Literal["xy", "yx"] = "xy"
    decimal: bool = False
    box: Brackets = COMMAS
    point: Brackets = COMMAS
    points: Brackets = COMMAS

    @property
    def largest(self) -> int:
        """The largest number that may ever be written."""
        return {"side": self.steps, "cell": self.steps**2 - 1, "pixel": LARGEST_PIXEL}[self.unit]

    def limits(self, frame: Frame) -> tuple[int, int]:
        """The largest numbers of x and y; of cells, of columns and rows."""
        if self.unit == "pixel":
            return frame.width, frame.height
        last = self.steps - 1 if self.unit == "cell" else self.steps
        return last, last

    def bounds(self, frame: Frame) -> Bounds:
        """The smallest and the largest number of x, and of y, between which lies all of the picture."""
        start, end = frame.shares((0.0, 0.0)), frame.shares((1.0, 1.0))
        x, y = (
            (math.floor(low * limit + ROUNDING), math.ceil(high * limit - ROUNDING))
            for low, high, limit in zip(start, end, self.limits(frame), strict=True)
        )
        return x, y

    def spell(self, number: int) -> str:
        """A number as text."""
        return self.number.format(number / self.steps if self.decimal else number)

    def foreign(self, text: str, frame: Frame) -> str:
        """Text with vilam's groups of places -> the same with the convention's."""
        return GROUP.sub(lambda match: "".join(self.pieces(match.group(), frame)), text)

    def canonical(self, text: str, frame: Frame) -> str:
        """Text with the convention's groups of places -> the same with vilam's; what cannot be read stays.

        Spaces between numbers and brackets, which some tokenizers lose, may be missing.
        """
        return self._group.sub(lambda match: self._spelled(match, frame), text)

    def pieces(self, group: str, frame: Frame) -> list[str]:
        """What one of vilam's groups of places is written as: numbers, and what stands around and between them."""
        shares = [int(number) / SCALE for number in NUMBER.findall(group)]
        if group.startswith("[["):
            return self._points_pieces(list(zip(shares[::2], shares[1::2], strict=True)), frame)
        return self._box_pieces(shares, frame)

    def box_text(self, corners: Sequence[float], frame: Frame) -> str:
        """A box, x1 y1 x2 y2 in shares of the picture's sides; one thinner than a step is widened to one."""
        return "".join(self._box_pieces(corners, frame))

    def points_text(self, points: Sequence[Point], frame: Frame) -> str:
        """Points, x y in shares of the picture's sides."""
        return "".join(self._points_pieces(points, frame))

    def _box_pieces(self, corners: Sequence[float], frame: Frame) -> list[str]:
        start, end = frame.shares((corners[0], corners[1])), frame.shares((corners[2], corners[3]))
        if self.unit == "cell":
            spans = [self._cells(*ends) for ends in zip(start, end, strict=True)]
        else:
            last = frame.shares((1.0, 1.0))
            spans = [_apart(*ends) for ends in zip(start, end, last, self.limits(frame), strict=True)]
        first, second = (self._ordered(pair) for pair in zip(*spans, strict=True))
        return _between(self.box, [[self.spell(number)] for number in [*first, *second]])

    def _cells(self, start: float, end: float) -> tuple[int, int]:
        """The first and the last column, or row, that a span in shares of the frame lies in."""
        first = self._cell(start)
        return first, max(first, min(math.ceil(end * self.steps) - 1, self.steps - 1))

    def _cell(self, share: float) -> int:
        return min(math.floor(share * self.steps), self.steps - 1)

    def _ordered(self, pair: Sequence[int]) -> Sequence[int]:
        """The numbers that an x and a y are written as."""
        if self.unit == "cell":
            return [pair[1] * self.steps + pair[0]]
        return pair if self.order == "xy" else pair[::-1]

    def _points_pieces(self, points: Sequence[Point], frame: Frame) -> list[str]:
        return _between(self.points, [self._point_pieces(point, frame) for point in points])

    def _point_pieces(self, point: Point, frame: Frame) -> list[str]:
        numbers = self._numbers(frame.shares(point), frame)
        return _between(self.point, [[self.spell(number)] for number in numbers])

    def read_box(self, text: str, frame: Frame) -> tuple[float, float, float, float] | None:
        """The corners of a box, in shares of the picture's sides; None where the text is none."""
        match = re.fullmatch(self._box_pattern, text)
        if match is None:
            return None
        numbers = list(self._read_numbers(match.group()))
        half = len(numbers) // 2
        if self.unit == "cell":
            first, second = self._corners(numbers[0], numbers[1])
        else:
            first, second = self._place(numbers[:half], frame), self._place(numbers[half:], frame)
        return (*frame.of_picture(first), *frame.of_picture(second))

    def read_points(self, text: str, frame: Frame) -> list[Point] | None:
        """Points, in shares of the picture's sides; None where the text is none."""
        match = re.fullmatch(self._points_pattern, text)
        if match is None:
            return None
        numbers = list(self._read_numbers(match.group()))
        size = 1 if self.unit == "cell" else 2
        pairs = (numbers[i : i + size] for i in range(0, len(numbers), size))
        return [frame.of_picture(self._place(pair, frame)) for pair in pairs]

    def _spelled(self, match: re.Match[str], frame: Frame) -> str:
        text, whole = match.group(), match.string
        # Spaces beside the group that a tokenizer has lost.
        before, after = whole[: match.start()][-1:], whole[match.end() :][:1]
        left, right = " " * (before.isalnum() or before in list(":,;")), " " * after.isalnum()
        return left + self._canonical_group(text, frame) + right

    def _canonical_group(self, text: str, frame: Frame) -> str:
        corners = self.read_box(text, frame)
        if corners is None:
            points = self.read_points(text, frame) or ()
            return points_text([(round(x * SCALE), round(y * SCALE)) for x, y in points])
        x1, y1, x2, y2 = (share * SCALE for share in corners)
        if x1 < x2 and y1 < y2:
            return box_text((x1, y1, x2, y2), SCALE, SCALE)
        return f"[{', '.join(str(round(value)) for value in (x1, y1, x2, y2))}]"  # is no box, and stays none

    def _numbers(self, point: Point, frame: Frame) -> Sequence[int]:
        """A point in shares of the frame as numbers."""
        if self.unit == "cell":
            return self._ordered([self._cell(share) for share in point])
        return self._ordered([round(share * limit) for share, limit in zip(point, self.limits(frame), strict=True)])

    def _place(self, numbers: Sequence[int], frame: Frame) -> Point:
        """Numbers of a pair, or of a cell its centre, in shares of the frame."""
        if self.unit == "cell":
            row, column = divmod(numbers[0], self.steps)
            return (column + 0.5) / self.steps, (row + 0.5) / self.steps
        x, y = numbers if self.order == "xy" else numbers[::-1]
        width, height = self.limits(frame)
        return min(x / width, 1.0), min(y / height, 1.0)

    def _corners(self, first: int, last: int) -> tuple[Point, Point]:
        """The box of two cells: between their centres, or all of them where they lie in one row or column."""
        (top, left), (bottom, right) = divmod(first, self.steps), divmod(last, self.steps)
        inset = 0.0 if top == bottom or left == right else 0.5
        return (
            ((left + inset) / self.steps, (top + inset) / self.steps),
            ((right + 1 - inset) / self.steps, (bottom + 1 - inset) / self.steps),
        )

    def _read_numbers(self, text: str) -> Iterator[int]:
        for spelled in re.findall(self._number_pattern, text):
            digits = re.sub(r"[^0-9.]", "", spelled)
            yield round(float(digits) * self.steps) if self.decimal else int(digits)

    @cached_property
    def _number_pattern(self) -> str:
        before, after = re.split(r"\{.*\}", self.number)
        digits = r"[01](?:\.[0-9]+)?" if self.decimal else "[0-9]{1,5}"
        return re.escape(before) + digits + re.escape(after)

    @cached_property
    def _box_pattern(self) -> str:
        count = 2 if self.unit == "cell" else 4
        return _enclosed(self.box, self._number_pattern, f"{{{count - 1}}}")

    @cached_property
    def _points_pattern(self) -> str:
        count = 1 if self.unit == "cell" else 2
        point = _enclosed(self.point, self._number_pattern, f"{{{count - 1}}}")
        return _enclosed(self.points, point, "*")

    @cached_property
    def _group(self) -> re.Pattern[str]:
        return re.compile(f"(?:{self._points_pattern})|(?:{self._box_pattern})")


def _apart(start: float, end: float, last: float, limit: int) -> tuple[int, int]:
    """The numbers of a span in shares of the frame; one thinner than a step is widened to the step that it lies in.

    last: where the picture ends in the frame; limit: the largest number.
    """
    low, high = round(start * limit), round(end * limit)
    if low < high:
        return low, high
    low = min(math.floor((start + end) / 2 * limit), math.ceil(last * limit) - 1)
    return low, low + 1


def _between(brackets: Brackets, parts: Sequence[Sequence[str]]) -> list[str]:
    """Pieces of text: parts, and what stands around and between them."""
    return brackets.around(parts, lambda text: [text] if text else [])


def _enclosed(brackets: Brackets, part: str, more: str) -> str:
    """A pattern of parts between brackets, with spaces wherever a tokenizer may leave or lose some."""
    before, between, after = (
        [re.escape(each) for each in text if each != " "]
        for text in (brackets.before, brackets.between, brackets.after)
    )
    gap = r"\s*"
    repeated = gap.join(["", *between, f"(?:{part})"])
    return gap.join([*before, f"(?:{part})(?:{repeated}){more}", *after])


THOUSANDTHS = Convention("side", 1000, "{:d}", "ViLaM (arXiv 2311.12327); Qwen3-VL's cookbook counts so too")
PIXELS = Convention("pixel", 1, "{:d}", "Qwen2.5-VL (arXiv 2502.13923, 2.1.2): absolute, of the resized picture")
LOCATIONS = Convention(
    "side",
    1023,
    "<loc{:04d}>",
    "PaliGemma (arXiv 2407.07726): 1,024 tokens, y before x",
    order="yx",
    box=Brackets("", "", ""),
    point=Brackets("", "", ""),
    points=SPACES,
)
HUNDREDTHS = Convention(
    "side", 100, "{:.2f}", "LLaVA-1.5 (arXiv 2310.03744): shares of the padded square", decimal=True
)
CELLS = Convention(
    "cell",
    32,
    "<patch_index_{:04d}>",
    "Kosmos-2 (arXiv 2306.14824): the first and the last of 32 x 32 cells",
    box=Brackets("<object>", "", "</object>"),
    point=Brackets("", "", ""),
    points=SPACES,
)
