"""One generated scene as an image record: exact boxes, polygons, keypoints, categories and expressions."""

from __future__ import annotations

import numpy as np

from vilam.data.masks import contours
from vilam.data.records import ImageRecord, Keypoint, Polygon, Region
from vilam.data.scenes.compose import Thing, compose
from vilam.data.scenes.draw import Pixels, coverage, paint, visible
from vilam.data.scenes.rng import SceneRng
from vilam.data.scenes.shapes import SHAPES, SUBPIXELS, keypoint_schemas, transform
from vilam.data.scenes.words import VisibleThing, describe
from vilam.geometry.polygons import polygon_box

__all__ = ["CATEGORIES", "LICENCE", "generate_scene", "keypoint_schemas"]

CATEGORIES = tuple(SHAPES)
LICENCE = "CC0-1.0"
MAX_PARTS = 3
LEAST_VISIBLE = 60  # percent
LEAST_PART = 4.0  # square pixels; a smaller part is left out of the polygons


def generate_scene(seed: int, index: int, split: str, image_size: int) -> ImageRecord:
    """The scene ``index`` of a split, image_size x image_size pixels; the same for the same four arguments."""
    rng = SceneRng(seed, split, index)
    things, covers, visible_parts, polygons = _clear_scene(rng, image_size)
    image = paint(rng, things, covers, image_size)
    boxes = [polygon_box([point for ring in rings for point in ring]) for rings in polygons]
    visible_things = [VisibleThing(*thing.appearance, box) for thing, box in zip(things, boxes, strict=True)]
    expressions = describe(rng, visible_things, image_size)
    image_id = f"{split}_{index:06d}"
    regions = tuple(
        Region(f"{image_id}_{number}", box, thing.shape, rings, _keypoints(thing, part), tuple(own))
        for number, (thing, box, rings, part, own) in enumerate(
            zip(things, boxes, polygons, visible_parts, expressions, strict=True)
        )
    )
    return ImageRecord(image_id, split, image, image_size, image_size, "scenes", LICENCE, (), regions)


def _clear_scene(
    rng: SceneRng, image_size: int
) -> tuple[list[Thing], list[Pixels], list[Pixels], list[tuple[Polygon, ...]]]:
    """Compose scenes until each thing is visible enough; almost always the first one is."""
    while True:
        things = compose(rng, image_size)
        covers = [coverage(thing, image_size) for thing in things]
        visible_parts = visible(covers)
        if all(_is_clear(part, cover) for part, cover in zip(visible_parts, covers, strict=True)):
            polygons = [_polygons(*each) for each in zip(things, covers, visible_parts, strict=True)]
            if all(0 < len(rings) <= MAX_PARTS for rings in polygons):
                return things, covers, visible_parts, polygons


def _is_clear(part: Pixels, cover: Pixels) -> bool:
    return int(part.sum(dtype=np.int64)) * 100 >= int(cover.sum(dtype=np.int64)) * LEAST_VISIBLE


def _polygons(thing: Thing, cover: Pixels, part: Pixels) -> tuple[Polygon, ...]:
    """The visible parts: the drawn polygon if nothing lies on top, else contours of the visible pixels."""
    if not np.array_equal(cover, part):
        return contours(part, 127.5, LEAST_PART)
    corners = transform(SHAPES[thing.shape].polygon, thing.radius, thing.rotation, thing.centre)
    return (tuple(((x + 0.5) / SUBPIXELS, (y + 0.5) / SUBPIXELS) for x, y in corners),)


def _keypoints(thing: Thing, part: Pixels) -> tuple[Keypoint, ...]:
    """The thing's keypoints; v is 2 if the thing is visible just inside the point, and 1 if something hides it."""
    shape = SHAPES[thing.shape]
    points = transform(shape.keypoints, thing.radius, thing.rotation, thing.centre)
    inside = tuple((x * 4 // 5, y * 4 // 5) for x, y in shape.keypoints)
    inner = transform(inside, thing.radius, thing.rotation, thing.centre)
    return tuple(
        ((x + 0.5) / SUBPIXELS, (y + 0.5) / SUBPIXELS, 2 if part[row // SUBPIXELS, column // SUBPIXELS] >= 128 else 1)
        for (x, y), (column, row) in zip(points, inner, strict=True)
    )
