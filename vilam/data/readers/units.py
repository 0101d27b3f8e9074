"""What the numbers of boxes in a text count: told by a recipe, by the notation, or by the numbers themselves.

``pixels``: of the picture. ``resized``: pixels of the picture as Qwen2.5-VL resizes it. ``thousandths``, ``hundredths``
and ``fractions``: of the picture's sides. ``padded``: fractions of the square around the picture, as in LLaVA's data.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from pathlib import Path

from vilam.errors import VilamError
from vilam.geometry.boxes import Box

logger = logging.getLogger(__name__)

Size = tuple[int, int]
"""Width and height."""
Placed = tuple[Path, Box]
"""A picture and a box in it."""
WHOLES = {"thousandths": 1000.0, "hundredths": 100.0, "fractions": 1.0}
STEP, FEWEST, MOST = 28, 56 * 56, 14 * 14 * 4 * 16384
"""Sides of Qwen2.5-VL's pictures are multiples of STEP; its processor's limits of pixels."""
SLACK = 0.01
"""Part of a side by which a box may lie outside of its frame."""


def resized(size: Size) -> Size:
    """The size to which Qwen2.5-VL's processor resizes a picture (smart_resize of qwen_vl_utils)."""
    width, height = (max(STEP, round(side / STEP) * STEP) for side in size)
    if width * height > MOST:
        factor = math.sqrt(size[0] * size[1] / MOST)
        width, height = (max(STEP, math.floor(side / factor / STEP) * STEP) for side in size)
    elif width * height < FEWEST:
        factor = math.sqrt(FEWEST / (size[0] * size[1]))
        width, height = (math.ceil(side * factor / STEP) * STEP for side in size)
    return width, height


def scaled(box: Box, unit: str, size: Size) -> Box:
    """A box in pixels of a picture of this size (width, height), from one in a unit."""
    width, height = size
    if unit == "padded":
        side = max(size)
        left, top = (side - width) / 2, (side - height) / 2
        x1, y1, x2, y2 = (side * value for value in box)
        return x1 - left, y1 - top, x2 - left, y2 - top
    frame = resized(size) if unit == "resized" else size if unit == "pixels" else (WHOLES[unit], WHOLES[unit])
    across, down = width / frame[0], height / frame[1]
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def unit_of(boxes: Iterable[Placed], is_marked: bool, size_of: Callable[[Path], Size | None], place: object) -> str:
    """The unit of a data set's boxes, which are gone through several times, that its numbers show.

    is_marked: whether boxes stand in marks (<box>, <|box_start|>), which are thousandths where numbers allow it.
    place: the data set, for messages. Raises VilamError with what to set in a recipe if the numbers do not tell.
    """
    largest = max(max(box) for _, box in boxes)
    if largest <= 1 + SLACK:
        return _of_fractions(boxes, size_of, place)
    if is_marked and largest <= WHOLES["thousandths"]:
        return "thousandths"
    over = largest > WHOLES["thousandths"]
    outside = any(not _fits(box, (size, resized(size))) for box, size in _sized(boxes, size_of))
    if outside and not over:
        return _said("thousandths", "some boxes would lie outside of their pictures in pixels", place)
    if over and not outside:
        return _of_pixels(boxes, size_of, place)
    reason = "numbers above 1000 and boxes outside of pictures" if over else "numbers that are pixels or thousandths"
    raise _untold(place, reason, "pixels (Qwen2.5-VL), resized (of its resized picture) or thousandths (Qwen3-VL)")


def _of_fractions(boxes: Iterable[Placed], size_of: Callable[[Path], Size | None], place: object) -> str:
    """Fractions of the picture, or of the square around it: the same for square pictures."""
    oblong = [(box, size) for box, size in _sized(boxes, size_of) if size[0] != size[1]]
    if not oblong:
        return "fractions"
    if any(not _in_picture(box, size) for box, size in oblong):
        return _said("fractions", "some boxes would lie beside their pictures in padded squares", place)
    raise _untold(
        place,
        "fractions of pictures that are not square",
        "fractions (of the picture) or padded (of the square around it, as in LLaVA's own data)",
    )


def _of_pixels(boxes: Iterable[Placed], size_of: Callable[[Path], Size | None], place: object) -> str:
    if any(not _fits(box, (size,)) for box, size in _sized(boxes, size_of)):
        return _said("resized", "some boxes lie outside of the pictures as they are", place)
    return _said("pixels", "numbers above 1000", place)


def _sized(boxes: Iterable[Placed], size_of: Callable[[Path], Size | None]) -> Iterable[tuple[Box, Size]]:
    return ((box, size) for path, box in boxes if (size := size_of(path)) is not None)


def _fits(box: Box, sizes: Iterable[Size]) -> bool:
    """Whether a box in pixels lies in a picture of one of these sizes."""
    return any(box[2] <= width * (1 + SLACK) and box[3] <= height * (1 + SLACK) for width, height in sizes)


def _in_picture(box: Box, size: Size) -> bool:
    """Whether a box in fractions of the padded square lies in the picture."""
    x1, y1, x2, y2 = scaled(box, "padded", size)
    slack = SLACK * max(size)
    return x1 >= -slack and y1 >= -slack and x2 <= size[0] + slack and y2 <= size[1] + slack


def _said(unit: str, reason: str, place: object) -> str:
    logger.info("%s: boxes are read as %s: %s; set reader.coordinates in a recipe if they are not", place, unit, reason)
    return unit


def _untold(place: object, reason: str, choices: str) -> VilamError:
    return VilamError(
        f"{place}: {reason}: what boxes count cannot be told: write a recipe with "
        f"reader: {{kind: conversations, coordinates: ...}} and one of {choices}"
    )
