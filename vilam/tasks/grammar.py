"""Grammars of answers, in text; a coordinate format turns them into grammars of tokens."""

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
    """``[[x, y], ...]`` of ``count`` points; ``closed`` repeats the first point at the end."""

    count: int
    closed: bool = False


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of these texts."""

    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """Free words: at least one token, no coordinates and no special tokens; without ``digits`` no numbers either."""

    digits: bool = True


Element = Literal | Box | Points | OneOf | Words
Grammar = tuple[tuple[Element, ...], ...]
"""Alternatives, each a sequence of elements."""


AND = " and "
"""Separates repeated elements."""


def repeated(begin: str, element: Element, count: int) -> tuple[Element, ...]:
    """A text and then ``count`` times an element, separated by AND."""
    elements: list[Element] = [Literal(begin)]
    for number in range(count):
        elements += [Literal(AND)] * (number > 0) + [element]
    return tuple(elements)
