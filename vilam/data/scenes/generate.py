"""One generated scene as an image record: exact boxes, polygons, keypoints, categories and expressions."""

from __future__ import annotations

import numpy as np

from vilam.data.masks import contours
from vilam.data.records import ImageRecord, Keypoint, Polygon, Region
from vilam.data.scenes.compose import Thing, compose
from vilam.data.scenes.draw import Pixels, coverage, paint, visible
from vilam.data.scenes.rng import SceneRng
from vilam.data.scenes.shapes import SHAPES, SUBPIXELS, keypoint_schemas, place
from vilam.data.scenes.words import Seen, describe
from vilam.geometry.polygons import polygon_box

__all__ = ["CATEGORIES", "LICENCE", "generate_scene", "keypoint_schemas"]

CATEGORIES = tuple(SHAPES)
LICENCE = "CC0-1.0"
MAX_PARTS = 3
LEAST_VISIBLE = 60  # percent
LEAST_PART = 4.0  # square pixels; a sliver below this is no part of an outline


def generate_scene(seed: int, index: int, split: str, image_size: int) -> ImageRecord:
    """The scene ``index`` of a split, image_size x image_size pixels; the same for the same four arguments."""
    dice = SceneRng(seed, split, index)
    things, covers, seen, outlines = _clear_scene(dice, image_size)
    image = paint(dice, things, covers, image_size)
    boxes = [_box(outline) for outline in outlines]
    words = describe(dice, [Seen(*thing.look, box) for thing, box in zip(things, boxes, strict=True)], image_size)
    image_id = f"{split}_{index:06d}"
    regions = tuple(
        Region(f"{image_id}_{number}", box, thing.shape, outline, _keypoints(thing, part), tuple(texts))
        for number, (thing, box, outline, part, texts) in enumerate(
            zip(things, boxes, outlines, seen, words, strict=True)
        )
    )
    return ImageRecord(image_id, split, image, image_size, image_size, "scenes", LICENCE, (), regions)


def _clear_scene(
    dice: SceneRng, image_size: int
) -> tuple[list[Thing], list[Pixels], list[Pixels], list[tuple[Polygon, ...]]]:
    """Compose until each thing is seen well enough; almost always the first time."""
    while True:
        things = compose(dice, image_size)
        covers = [coverage(thing, image_size) for thing in things]
        seen = visible(covers)
        if all(_clear(part, cover) for part, cover in zip(seen, covers, strict=True)):
            outlines = [_outline(*each) for each in zip(things, covers, seen, strict=True)]
            if all(0 < len(outline) <= MAX_PARTS for outline in outlines):
                return things, covers, seen, outlines


def _clear(seen: Pixels, cover: Pixels) -> bool:
    return int(seen.sum(dtype=np.int64)) * 100 >= int(cover.sum(dtype=np.int64)) * LEAST_VISIBLE


def _outline(thing: Thing, cover: Pixels, seen: Pixels) -> tuple[Polygon, ...]:
    """The visible parts: the drawn outline where nothing lies on top, else traced from the visible pixels."""
    if not np.array_equal(cover, seen):
        return contours(seen, 127.5, LEAST_PART)
    corners = place(SHAPES[thing.shape].outline, thing.radius, thing.turn, thing.centre)
    return (tuple(((x + 0.5) / SUBPIXELS, (y + 0.5) / SUBPIXELS) for x, y in corners),)


def _box(outline: tuple[Polygon, ...]) -> tuple[float, float, float, float]:
    return polygon_box([point for ring in outline for point in ring])


def _keypoints(thing: Thing, seen: Pixels) -> tuple[Keypoint, ...]:
    """The thing's keypoints; v is 2 where the thing is seen just inside the point and 1 where something hides it."""
    shape = SHAPES[thing.shape]
    points = place(shape.keypoints, thing.radius, thing.turn, thing.centre)
    inner = place(tuple((x * 4 // 5, y * 4 // 5) for x, y in shape.keypoints), thing.radius, thing.turn, thing.centre)
    return tuple(
        ((x + 0.5) / SUBPIXELS, (y + 0.5) / SUBPIXELS, 2 if seen[row // SUBPIXELS, column // SUBPIXELS] >= 128 else 1)
        for (x, y), (column, row) in zip(points, inner, strict=True)
    )
