"""JSON files of any size, read part by part: the rows of the lists in them, one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from vilam.data.readers.source import read_json
from vilam.errors import VilamError

PIECE = 1 << 18
"""Characters that are read at once."""
TAIL = len("e+")
"""Characters of a number that are taken for what follows it if the text ends there, at most."""
SPACES = re.compile(r"[ \t\n\r]+")
DEEPEST = 100
"""Lists in lists of a value, at most: deeper ones cannot be kept in a file."""


class Part(NamedTuple):
    """A row of a list in a file's object, or another value in it; of a list, an empty one comes before its rows.

    name: of the list or value; "" for the rows of a file that is a list itself. text: the JSON of the value.
    """

    name: str
    value: Any
    text: str
    is_row: bool


def parts_of(path: Path) -> Iterator[Part]:
    """The parts of a JSON file in their order; raises VilamError if it cannot be read.

    UTF-8, UTF-16 or UTF-32, and what else Python's own `json` reads.
    """
    try:
        with path.open("rb") as file:
            encoding = json.detect_encoding(file.read(4))
        with path.open(encoding=encoding, errors="surrogatepass", newline="") as stream:
            yield from _parts(_Window(stream))
    except OSError as error:
        raise VilamError(f"{path}: {error.strerror}: check prepare.root") from None
    except (ValueError, RecursionError) as error:
        read_json(path)  # tells the line and column
        raise VilamError(f"{path}: not readable as JSON: {error}") from None


class _Window:
    """The part of a text that is looked at: its beginning is dropped as values are taken."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._text, self._at = stream, "", 0
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is no space; "" at the end of the text."""
        while True:
            if found := SPACES.match(self._text, self._at):
                self._at = found.end()
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def take(self, expected: str) -> str:
        """Take one of the expected characters; raises ValueError if another one follows."""
        found = self.peek()
        if not found or found not in expected:
            raise ValueError(f"expected {' or '.join(expected)}")
        self._at += 1
        return found

    def value(self) -> tuple[Any, str]:
        """Take a value; returns it and its text, and raises ValueError if none follows."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            length, follows = end - self._at, len(self._text) - end
            if follows > TAIL or not self._more():  # a number at the end of the window may go on
                text = self._text[self._at : self._at + length]
                if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
                    raise ValueError("lists in lists too deep to be read")
                self._at += length
                return value, text

    def _more(self) -> bool:
        """Read on, as much again as is still looked at; false at the end of the text."""
        rest = self._text[self._at :]
        piece = self._stream.read(max(PIECE, len(rest)))
        self._text, self._at = rest + piece, 0
        return bool(piece)


def _depth(value: Any) -> int:
    """How many lists and objects of a value are in one another, at most."""
    depth, inside = 0, [value]
    while inside := [one for each in inside if isinstance(each, list | dict) for one in _members(each)]:
        depth += 1
    return depth


def _members(value: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _parts(window: _Window) -> Iterator[Part]:
    if window.peek() == "{":
        yield from _named_parts(window)
    elif window.peek() == "[":
        yield from _rows(window, "")
    else:
        yield Part("", *window.value(), is_row=False)
    if window.peek():
        raise ValueError("more follows the end")


def _named_parts(window: _Window) -> Iterator[Part]:
    window.take("{")
    if window.peek() == "}":
        window.take("}")
        return
    while True:
        if window.peek() != '"':
            raise ValueError("expected a name")
        name, _ = window.value()
        window.take(":")
        if window.peek() == "[":
            yield from _rows(window, name)
        else:
            yield Part(name, *window.value(), is_row=False)
        if window.take(",}") == "}":
            return


def _rows(window: _Window, name: str) -> Iterator[Part]:
    yield Part(name, [], window.take("["), is_row=False)
    if window.peek() == "]":
        window.take("]")
        return
    while True:
        yield Part(name, *window.value(), is_row=True)
        if window.take(",]") == "]":
            return
