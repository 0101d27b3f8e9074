"""The texts of boxes and of points: literal text around numbers, as in ``[{x1}, {y1}, {x2}, {y2}]``.

The same templates write answers, read them, and become the grammars of tokens (vilam/inference/constraints.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import TypeVar

Piece = TypeVar("Piece")
Write = Callable[[str], Sequence[Piece]]
"""Makes pieces of a literal text: itself, tokens, slots of a grammar."""
NUMBER = "n"
"""The field of a point that counts the points of a list, from 1 on."""
GAP = r"\s*"


@dataclass(frozen=True, slots=True)
class Template:
    """Literal texts before, between and after fields; one more text than fields."""

    texts: tuple[str, ...]
    fields: tuple[str, ...]

    @classmethod
    def parse(cls, template: str) -> Template:
        """Reads ``[{x}, {y}]``, with ``{{`` for a brace; raises ValueError if a brace is missing."""
        texts, fields = [""], []
        for text, name, _, _ in Formatter().parse(template):
            texts[-1] += text
            if name is not None:
                fields.append(name)
                texts.append("")
        return cls(tuple(texts), tuple(fields))

    @property
    def numbers(self) -> tuple[str, ...]:
        """The fields that hold coordinates."""
        return tuple(name for name in self.fields if name != NUMBER)

    def numbered(self, number: int) -> Template:
        """The template with the number of its point in it."""
        texts, fields = [self.texts[0]], []
        for name, text in zip(self.fields, self.texts[1:], strict=True):
            if name == NUMBER:
                texts[-1] += f"{number}{text}"
            else:
                fields.append(name)
                texts.append(text)
        return Template(tuple(texts), tuple(fields))

    def around(self, parts: Sequence[Sequence[Piece]], write: Write[Piece]) -> list[Piece]:
        """The pieces of all parts in order, with what ``write`` makes of the texts around and between them."""
        pieces = [*write(self.texts[0])]
        for part, text in zip(parts, self.texts[1:], strict=True):
            pieces += [*part, *write(text)]
        return pieces

    def pattern(self, number: str, space: str) -> str:
        """A regular expression, with ``number`` at each coordinate and ``space`` at a text of spaces alone."""
        parts = _literal(self.texts[0], space)
        for name, text in zip(self.fields, self.texts[1:], strict=True):
            parts += ["[0-9]+" if name == NUMBER else number, *_literal(text, space)]
        return GAP.join(parts)


@dataclass(frozen=True, slots=True)
class PointsTemplate:
    """The texts of a list of points: before the first, of each, between two, after the last."""

    before: str
    point: Template
    between: str
    after: str

    def around(self, points: Sequence[Sequence[Sequence[Piece]]], write: Write[Piece]) -> list[Piece]:
        """The pieces of a list; each point is the pieces of its coordinates."""
        pieces = [*write(self.before)]
        for number, parts in enumerate(points, start=1):
            pieces += [*(write(self.between) if number > 1 else []), *self.point.numbered(number).around(parts, write)]
        return [*pieces, *write(self.after)]

    def pattern(self, number: str, space: str) -> str:
        """A regular expression of a list, as of a `Template`."""
        point = f"(?:{self.point.pattern(number, space)})"
        more = GAP.join([*_literal(self.between, space), point])
        return GAP.join([*self.start(space), f"{point}(?:{GAP}{more})*", *_literal(self.after, space)])

    def start(self, space: str) -> list[str]:
        """The regular expressions of the text before the first point."""
        return _literal(self.before, space)


def as_text(text: str) -> Sequence[str]:
    """For `around`: a literal text is a piece itself."""
    return [text] if text else []


def _literal(text: str, space: str) -> list[str]:
    """Regular expressions of a text. Spaces in it are optional: some tokenizers add or lose them."""
    return [space] if text.isspace() else [re.escape(each) for each in text if each != " "]
