"""Scenes: the same on every machine, annotated exactly, and varied."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from io import BytesIO
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from vilam.data.masks import polygons_to_mask
from vilam.data.records import ImageRecord
from vilam.data.scenes import CATEGORIES, generate_scene, keypoint_schemas
from vilam.geometry.boxes import box_iou
from vilam.geometry.polygons import polygon_box

PINNED = [2624032282, 1466685864, 3445879286, 727129184]
"""Checksums of pixels and regions of the first four scenes; any change of the generator changes them."""
SCENES = [generate_scene(42, index, "train", 96) for index in range(80)]


def _pixels(record: ImageRecord) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(record.image)))


def _digest(record: ImageRecord) -> int:
    facts = [asdict(region) for region in record.regions]
    for expression in (one for region in facts for one in region["expressions"]):
        assert expression.pop("provenance") is None  # no model wrote it
    return crc32(json.dumps(facts).encode(), crc32(_pixels(record).tobytes()))


def test_a_scene_depends_only_on_its_arguments() -> None:
    assert generate_scene(42, 3, "train", 96) == SCENES[3]
    others = [generate_scene(43, 3, "train", 96), generate_scene(42, 4, "train", 96), generate_scene(42, 3, "val", 96)]
    assert len({_digest(one) for one in [SCENES[3], *others]}) == 4


def test_scenes_are_the_same_on_every_machine() -> None:
    assert [_digest(SCENES[index]) for index in range(4)] == PINNED


@pytest.mark.parametrize("image_size", [32, 224])
def test_scenes_of_other_image_sizes(image_size: int) -> None:
    for index in range(5):
        record = generate_scene(1, index, "val", image_size)
        assert _pixels(record).shape == (image_size, image_size, 3)
        assert 3 <= len(record.regions) <= 6


def test_polygons_cover_the_drawn_pixels() -> None:
    checked = 0
    for record in SCENES:
        pixels = _pixels(record).astype(int)
        plain = len(np.unique(pixels[0].reshape(-1, 3), axis=0)) == 1
        if plain and "ring" not in {region.category for region in record.regions}:
            drawn = np.abs(pixels - pixels[0, 0]).max(axis=-1) > 16
            rings = [ring for region in record.regions for ring in region.polygons]
            mask = polygons_to_mask(rings, 96, 96)
            assert np.count_nonzero(drawn & mask) > 0.8 * np.count_nonzero(drawn | mask)
            checked += 1
    assert checked > 5


def test_boxes_are_around_their_polygons_and_inside_the_image() -> None:
    for record in SCENES:
        for region in record.regions:
            x1, y1, x2, y2 = region.box_xyxy
            assert 0 <= x1 < x2 <= 96 and 0 <= y1 < y2 <= 96
            assert 1 <= len(region.polygons) <= 3
            around = polygon_box([point for ring in region.polygons for point in ring])
            assert box_iou(region.box_xyxy, around) == 1


def test_parts_of_two_things_do_not_overlap() -> None:
    for record in SCENES:
        masks = [polygons_to_mask(region.polygons, 96, 96) for region in record.regions if region.category != "ring"]
        assert np.sum(masks, axis=0).max() <= 2  # neighbours share border pixels
        covered = sum(int(mask.sum()) for mask in masks)
        assert covered == 0 or np.count_nonzero(np.any(masks, axis=0)) / covered > 0.9


def test_keypoints_are_those_of_the_category() -> None:
    schemas = keypoint_schemas()
    for record in SCENES:
        for region in record.regions:
            assert len(region.keypoints) == len(schemas[region.category].names)
            assert all(0 <= x <= 96 and 0 <= y <= 96 and v in (1, 2) for x, y, v in region.keypoints)
            if region.category == "square":
                (left, top, _), (right, _, _), (_, low, _), _ = region.keypoints
                assert left < right and top < low


def test_at_least_half_of_scenes_have_two_things_of_a_class_and_all_classes_occur() -> None:
    counts = [Counter(region.category for region in record.regions) for record in SCENES]
    assert sum(max(count.values()) > 1 for count in counts) >= len(SCENES) / 2
    assert set().union(*counts) == set(CATEGORIES)


def test_half_of_the_backgrounds_are_plain() -> None:
    plain = sum(len(np.unique(_pixels(record)[0].reshape(-1, 3), axis=0)) == 1 for record in SCENES)
    assert 0.3 < plain / len(SCENES) < 0.7
