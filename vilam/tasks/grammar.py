"""What an answer may look like, told in words; a coordinate format turns it into tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Literal:
    """Exactly this text."""

    text: str


@dataclass(frozen=True, slots=True)
class Box:
    """``[x1, y1, x2, y2]`` in 0-1000 with x1 < x2 and y1 < y2."""


@dataclass(frozen=True, slots=True)
class Points:
    """``[[x, y], ...]`` of ``count`` points; ``closed`` repeats the first point once more at the end."""

    count: int
    closed: bool = False


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of these texts."""

    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """Free words: no coordinates and no special tokens, one token at least; without ``digits`` no numbers either."""

    digits: bool = True


Element = Literal | Box | Points | OneOf | Words
Grammar = tuple[tuple[Element, ...], ...]
"""Alternatives; each is a sequence of elements that the answer consists of."""


AND = " and "
"""Stands between the elements of a row."""


def row(begin: str, element: Element, count: int) -> tuple[Element, ...]:
    """So many of one element after a text, with AND between them."""
    elements: list[Element] = [Literal(begin)]
    for number in range(count):
        elements += [Literal(AND)] * (number > 0) + [element]
    return tuple(elements)
