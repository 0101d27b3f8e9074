"""Pixels of a scene: backgrounds, textures, and the visible part of each object, all in integers."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vilam.data.scenes.compose import COLOURS, Thing
from vilam.data.scenes.rng import SceneRng
from vilam.data.scenes.shapes import SHAPES, SUBPIXELS, transform

Pixels = NDArray[np.uint8]
Window = tuple[slice, slice]


def coverage(thing: Thing, image_size: int) -> Pixels:
    """How much of each pixel the thing covers, 0..255, [H, W]; drawn at SUBPIXELS times the size and averaged."""
    shape = SHAPES[thing.shape]
    window = _window(thing, image_size)
    top, left = window[0].start * SUBPIXELS, window[1].start * SUBPIXELS
    height, width = ((part.stop - part.start) * SUBPIXELS for part in window)
    canvas = Image.new("L", (width, height))
    pen = ImageDraw.Draw(canvas)
    for points, ink in ((shape.polygon, 255), (shape.hole, 0)):
        if points:
            corners = transform(points, thing.radius, thing.rotation, thing.centre)
            pen.polygon([(x - left, y - top) for x, y in corners], fill=ink)
    covered = np.zeros((image_size, image_size), dtype=np.uint8)
    covered[window] = np.asarray(canvas.reduce(SUBPIXELS))
    return covered


def visible(covers: list[Pixels]) -> list[Pixels]:
    """The visible part of each cover when later ones lie on top; same shapes and range."""
    parts = []
    above = np.zeros_like(covers[0])
    for cover in reversed(covers):
        parts.append(np.minimum(cover, 255 - above))
        above = np.maximum(above, cover)
    return parts[::-1]


def paint(rng: SceneRng, things: list[Thing], covers: list[Pixels], image_size: int) -> bytes:
    """The scene as a PNG file."""
    canvas = (_noise if rng.chance(50) else _plain)(rng, image_size)
    for thing, cover in zip(things, covers, strict=True):
        window = _window(thing, image_size)
        ink = _ink(rng, thing)[_pattern(thing.texture, max(2, thing.radius // 16), image_size)[window].astype(int)]
        alpha = cover[window][..., None].astype(np.int32)
        canvas[window] = (canvas[window] * (255 - alpha) + ink * alpha) // 255
    file = BytesIO()
    Image.fromarray(canvas.astype(np.uint8)).save(file, "PNG", compress_level=2)
    return file.getvalue()


def _window(thing: Thing, image_size: int) -> Window:
    reach = thing.radius * 13 // 10 // SUBPIXELS + 2
    column, row = (coordinate // SUBPIXELS for coordinate in thing.centre)
    return (
        slice(max(row - reach, 0), min(row + reach + 1, image_size)),
        slice(max(column - reach, 0), min(column + reach + 1, image_size)),
    )


def _ink(rng: SceneRng, thing: Thing) -> NDArray[np.int32]:
    """The two colours of a texture [2, 3]: the thing's own, slightly varied, and a shade that no background has."""
    own = np.array([min(max(value + rng.between(-9, 9), 0), 255) for value in COLOURS[thing.colour]], dtype=np.int32)
    shades = {"black": own + 42, "white": own * 78 // 100}
    return np.stack([own, shades.get(thing.colour, own * 55 // 100)])


@lru_cache(maxsize=256)
def _pattern(texture: str, cell: int, image_size: int) -> NDArray[np.bool_]:
    """The pixels of the second colour, bool [H, W]; fewer than half, so that the first colour names the thing."""
    rows, columns = np.mgrid[:image_size, :image_size]
    if texture == "striped":
        return np.asarray((columns + rows) % (2 * cell + 1) < cell)
    if texture == "checked":
        return np.asarray((columns // cell + rows // cell) % 2 == 1)
    if texture == "dotted":
        return np.asarray((columns % (cell + 2) < 2) & (rows % (cell + 2) < 2))
    return np.zeros((image_size, image_size), dtype=bool)


def _plain(rng: SceneRng, image_size: int) -> NDArray[np.int32]:
    grey = rng.between(88, 145)
    colour = [grey + rng.between(-14, 14) for _ in range(3)]
    return np.full((image_size, image_size, 3), colour, dtype=np.int32)


def _noise(rng: SceneRng, image_size: int) -> NDArray[np.int32]:
    """Value noise: random grids of three scales and little saturation, enlarged smoothly and added."""
    total = np.zeros((image_size, image_size, 3), dtype=np.int32)
    for cells, weight in ((4, 52), (11, 32), (28, 16)):
        grid = rng.noise(cells, cells).astype(np.int32)
        muted = (grid[..., :1] * 7 + grid * 3) // 10
        enlarged = Image.fromarray(muted.astype(np.uint8)).resize((image_size, image_size), Image.Resampling.BICUBIC)
        total += np.asarray(enlarged, dtype=np.int32) * weight
    return np.clip(60 + total * 10 // 2500, 72, 165)
