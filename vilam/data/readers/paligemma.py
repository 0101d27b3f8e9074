"""PaliGemma's detection: ``{"image": "a.jpg", "prefix": "detect fox ; owl", "suffix": "<loc0010>... fox ; ..."}``.

Four tokens are y1, x1, y2 and x2, in 1024ths of the picture's sides, as Roboflow, its `supervision` and the Hugging
Face examples count them; big_vision counts 1023ths, which differs by a thousandth of a side at most. Names that the
data set uses again and again are categories, others are expressions. Sixteen tokens ``<segNNN>`` are an outline that
only PaliGemma's own decoder can draw: the box is kept.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path

from vilam.data.readers.formats import Format, Found
from vilam.data.readers.gathering import are_names
from vilam.data.readers.items import source_of
from vilam.data.readers.pairs import pair_of, read_pairs
from vilam.data.readers.row_files import Row, recognised
from vilam.data.readers.source import OBJECT, Source
from vilam.data.recipes import FormatReader, Recipe
from vilam.geometry.boxes import Box

logger = logging.getLogger(__name__)

WHOLE = 1024
ASKED = re.compile(r"^\s*(?:detect|segment)\s+(.+)$", re.IGNORECASE | re.DOTALL)
FOUND = re.compile(r"((?:<loc\d{4}>){4})((?:<seg\d{3}>)*)\s*([^;<]*)")
NUMBER = re.compile(r"<loc(\d{4})>")
CAPTION = re.compile(r"^\s*caption\b", re.IGNORECASE)


def recognises(root: Path) -> Found | None:
    """Rows whose answers have PaliGemma's tokens."""
    return recognised(root, "paligemma", "PaliGemma JSONL", _is_own)


def open_paligemma(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read all rows; the images are read one by one as the rows are iterated."""
    gathering, pairs = read_pairs(root, reader, _is_own, _matters)
    names, num_outlines = Counter[str](), 0
    for _, _, suffix, _ in pairs:
        found, outlines = _objects(suffix)
        names.update(name for _, name in found)
        num_outlines += outlines
    as_categories = are_names(names)
    if num_outlines:
        logger.warning("%s: outlines of %d objects (<seg> tokens) left out: their boxes are kept", root, num_outlines)
    for key, prefix, suffix, location in pairs:
        draft = gathering.again(key)
        draft.whole = WHOLE
        if CAPTION.match(prefix) and suffix.strip():
            draft.captions.append(suffix)
        asked = ASKED.match(prefix)
        if as_categories and asked and draft.marked is not None:
            draft.marked.update(name.strip() for name in asked[1].split(";"))
        said: dict[str, list[int]] = {}
        for box, name in _objects(suffix)[0]:
            number = draft.add(box, name if as_categories and name else OBJECT, location=location)
            said.setdefault(name, []).append(number)
        for text, numbers in () if as_categories else said.items():
            draft.say(text, numbers)
    return source_of(gathering.listing(), recipe, reader.together, reader.window)


def _is_own(row: Row) -> bool:
    pair = pair_of(row)
    return pair is not None and FOUND.match(pair[1].strip()) is not None


def _matters(prefix: str, suffix: str) -> bool:
    return ASKED.match(prefix) is not None or CAPTION.match(prefix) is not None or FOUND.search(suffix) is not None


def _objects(suffix: str) -> tuple[list[tuple[Box, str]], int]:
    """The boxes of an answer with their names, and the number of outlines."""
    found, num_outlines = [], 0
    for tokens, outline, name in FOUND.findall(suffix):
        y1, x1, y2, x2 = (float(number) for number in NUMBER.findall(tokens))
        found.append(((x1, y1, x2, y2), name.strip()))
        num_outlines += bool(outline)
    return found, num_outlines


FORMAT = Format(
    "paligemma",
    "PaliGemma JSONL",
    "*.jsonl with image, prefix (detect a ; b) and suffix (<loc0000> tokens), such as _annotations.train.jsonl",
    "boxes, categories or expressions, captions, splits",
    "outlines (<seg> tokens, which need PaliGemma's decoder); answers to other questions",
    recognises,
    open_paligemma,
)
