"""Kosmos-2's notation of boxes: ``<phrase>a fox</phrase><object><patch_index_0044><patch_index_0863></object>``.

A box is the first and the last of the 32 x 32 patches of a picture, counted row by row; several are parted by
``</delimiter_of_multi_objects/>``. It reaches from centre to centre of the two, as Kosmos-2's processor decodes it, or
from edge to edge if both are in one row or column: it is off by half a patch, a 64th of a side.
"""

from __future__ import annotations

import re

SIDE = 32
MARK = "<patch_index_"
PHRASE = re.compile(r"<phrase>([^<]*)</phrase>")
OBJECT = re.compile(r"<object>(.*?)</object>")
PAIR = re.compile(r"<patch_index_(\d{4})><patch_index_(\d{4})>")
GROUNDING = "<grounding>"


def without_patches(text: str) -> str:
    """The text with marked words (``<ref>``) and boxes in fractions of the picture's sides: ``[x1, y1, x2, y2]``."""
    if MARK not in text:
        return text
    return OBJECT.sub(_boxes, PHRASE.sub(r"<ref>\1</ref>", text)).replace(GROUNDING, "")


def _boxes(found: re.Match[str]) -> str:
    return ", ".join(_box(int(first), int(last)) for first, last in PAIR.findall(found[1]))


def _box(first: int, last: int) -> str:
    (top, left), (bottom, right) = divmod(first, SIDE), divmod(last, SIDE)
    inside = 0.0 if left == right or top == bottom else 0.5
    box = left + inside, top + inside, right + 1 - inside, bottom + 1 - inside
    return f"[{', '.join(str(value / SIDE) for value in box)}]"
