"""The orientation tag of a picture (EXIF 0x0112), and what it does to coordinates.

A phone stores the pixels as its sensor lies and says in the tag how to turn them. Tools show the turned picture, and
most of them annotate it; some write coordinates of the stored pixels.
"""

from __future__ import annotations

from PIL import Image

from vilam.data.records import Point

UPRIGHT = 1
TAG = 0x0112


def orientation(image: Image.Image) -> int:
    """1 (upright) to 8, as EXIF counts them; 1 if there is no tag, or another number in it."""
    found = image.getexif().get(TAG, UPRIGHT)
    return found if isinstance(found, int) and 1 <= found <= 8 else UPRIGHT


def turned_size(size: tuple[int, int], tag: int) -> tuple[int, int]:
    """Width and height of the upright picture, from those of the stored pixels."""
    return (size[1], size[0]) if tag >= 5 else size


def turned(point: Point, size: tuple[float, float], tag: int) -> Point:
    """A point of the upright picture, from one of the stored pixels, which are ``size`` = (width, height)."""
    if tag == UPRIGHT:
        return point
    (x, y), (width, height) = point, size
    return {
        2: (width - x, y),
        3: (width - x, height - y),
        4: (x, height - y),
        5: (y, x),
        6: (height - y, x),
        7: (height - y, width - x),
        8: (y, width - x),
    }[tag]
