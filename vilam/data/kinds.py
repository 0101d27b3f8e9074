"""The kinds of what is wrong with a data set, and what each of them costs."""

from __future__ import annotations

import re

MISSING, BROKEN, SIZE, TWICE = "picture missing", "broken picture", "picture of another size", "picture twice"
UNREADABLE = "annotation file"
BOX, OUTLINE, RING, KEYPOINTS, CATEGORY, ROW = "box", "outline", "ring", "keypoints", "category", "row"

OF_PICTURES = (MISSING, BROKEN, SIZE, TWICE, UNREADABLE)
"""Kinds that cost a whole picture; each of the others costs one object or less."""
OF_PARTS = (OUTLINE, RING, KEYPOINTS)
"""Kinds that cost a part of an object: its box stays; of `RING` its outline too, so that there may be any number."""
WORDS = {
    KEYPOINTS: r"keypoint",
    OUTLINE: r"outline|\brings?\b|polygon|\bmask|run.?length",
    MISSING: r"not found|no file|no such file|no image|no picture",
    SIZE: r"the image is \d+x\d+",
    BROKEN: r"broken or truncated|image file is truncated|cannot identify|cannot be read",
    BOX: r"\bb?box|four numbers|corner",
    CATEGORY: r"categor|\bclass|\blabel",
}
"""What messages say, by kind; the first that fits counts."""


def kind_of(message: str) -> str:
    """The kind of a problem whose reader names none, by the words of its message; `ROW` if they do not tell."""
    return next((kind for kind, words in WORDS.items() if re.search(words, message, re.IGNORECASE)), ROW)
