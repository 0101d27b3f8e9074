"""Finds pictures of two splits that show the same: copies that were scaled or compressed again.

A fingerprint is a picture of 12 x 12 grey values and 4 x 4 colours. Two pictures are near copies if all colours agree
and the grey values differ by little, measured by their own contrast: two plain pictures with one small object each are
near copies only if the object is at the same place. A picture without contrast has no fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE, COLOURS = 12, 4
"""Places of the grey values, and of the colours, in each direction."""
MIN_CONTRAST = 2.0
"""Standard deviation of the grey values, at least; with less the picture is plain."""
DIFFERENT = 0.15
"""The root mean square difference of near copies, in standard deviations, at most: a correlation of 0.989."""
COLOUR_STEP = 12
"""Levels by which each colour of near copies may differ."""
GREY_BYTES, BYTES = SIDE**2, SIDE**2 + 3 * COLOURS**2


def fingerprint(image: Image.Image) -> bytes:
    """The `BYTES` of a picture; none if it has no contrast."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    small = rgb.resize((SIDE, SIDE), Image.Resampling.BOX)
    grey = small.convert("L")
    if np.asarray(grey).std() < MIN_CONTRAST:
        return b""
    return grey.tobytes() + small.resize((COLOURS, COLOURS), Image.Resampling.BOX).tobytes()


def near_pairs(first: bytes, second: bytes) -> Iterator[tuple[int, int]]:
    """Indices of the near copies among two sets of fingerprints, joined; the longer second one is sorted."""
    greys, colours = _parts(second)
    means = colours.mean(1)
    order = means.argsort()
    colours, means = colours[order], means[order]
    for index, (grey, colour) in enumerate(zip(*_parts(first), strict=True)):
        low, high = means.searchsorted((colour.mean() - COLOUR_STEP, colour.mean() + COLOUR_STEP))
        alike = low + (np.abs(colours[low:high] - colour) <= COLOUR_STEP).all(1).nonzero()[0]
        distance = np.sqrt(((greys[order[alike]] - grey) ** 2.0).mean(1))
        yield from ((index, int(order[found])) for found in alike[distance <= DIFFERENT * grey.std()])


def _parts(prints: bytes) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Grey values [number, places] and colours [number, values]."""
    rows = np.frombuffer(prints, np.uint8).reshape(-1, BYTES)
    return rows[:, :GREY_BYTES].astype(np.int16), rows[:, GREY_BYTES:].astype(np.int16)
