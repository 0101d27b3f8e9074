"""Datumaro: subsets, groups, turned boxes, masks, keypoints, captions, what is no object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from reading import PROJECT, opened, read, write_image

from vilam.data.readers import find_recipe
from vilam.errors import VilamError

READER = {"kind": "datumaro"}
CATEGORIES = {
    "label": {"labels": [{"name": "ship", "parent": ""}, {"name": "hand", "parent": ""}], "label_groups": []},
    "points": {"items": [{"label_id": 1, "labels": ["wrist", "thumb"], "joints": [[1, 2]]}]},
}


def annotation(kind: str, label: int | None = 0, group: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": 5, "type": kind, "attributes": {}, "group": group, "label_id": label, "z_order": 0, **more}


def write(root: Path, *annotations: dict[str, Any], subset: str = "default", size: object = (30, 40)) -> Path:
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    write_image(root / "images" / subset / "a.png")
    item = {"id": "a", "annotations": [*annotations], "image": {"path": "a.png", "size": size}}
    content = {"dm_format_version": "1.0", "infos": {}, "categories": CATEGORIES, "items": [item]}
    (root / "annotations" / f"{subset}.json").write_text(json.dumps(content))
    return root


def record_of(root: Path, *annotations: dict[str, Any]) -> tuple[Any, list[str]]:
    (record,), problems = read(READER, write(root, *annotations))
    return record, problems


def test_boxes_outlines_and_masks(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[5:15, 10:30] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    record, problems = record_of(
        tmp_path,
        annotation("bbox", bbox=[4, 5, 10, 6]),
        annotation("bbox", bbox=[10, 12, 16, 4], attributes={"rotation": 90.0}),
        annotation("polygon", points=[1, 1, 9, 1, 9, 8]),
        annotation("mask", rle={"counts": rle["counts"].decode(), "size": rle["size"]}),
        annotation("ellipse", points=[10, 10, 30, 20]),
    )
    boxes = [(4, 5, 14, 11), (16, 6, 20, 22), (1, 1, 9, 8), (10, 5, 30, 15), (10, 10, 30, 20)]
    assert problems == [] and [one.box_xyxy for one in record.regions] == [pytest.approx(box) for box in boxes]


def test_annotations_of_a_group_are_one_object_with_its_caption(tmp_path: Path) -> None:
    record, _ = record_of(
        tmp_path,
        annotation("bbox", bbox=[1, 1, 24, 24], group=3),
        annotation("polygon", points=[1, 1, 5, 1, 5, 5], group=3),
        annotation("polygon", points=[20, 20, 25, 20, 25, 25], group=3),
        annotation("caption", None, group=3, caption="the grey ship"),
        annotation("caption", None, caption="a harbour"),
        annotation("label"),
    )
    (region,) = record.regions
    assert region.box_xyxy == (1, 1, 25, 25) and len(region.polygons) == 2
    assert [one.text for one in region.expressions] == ["the grey ship"] and record.captions == ("a harbour",)


def test_points_that_the_categories_name_are_keypoints(tmp_path: Path) -> None:
    points = annotation("points", 1, points=[3, 4, 9, 8], visibility=[2, 1])
    record, (problem,) = record_of(tmp_path, points, annotation("points", 0, points=[3, 4]))
    assert (
        record.regions[0].keypoints == ((3, 4, 2), (9, 8, 1)) and "1 points that the categories do not name" in problem
    )
    assert opened(READER, tmp_path).keypoints["hand"].skeleton == ((0, 1),)


def test_a_crowd_is_unmarked(tmp_path: Path) -> None:
    record, problems = record_of(tmp_path, annotation("bbox", bbox=[1, 1, 9, 9], attributes={"is_crowd": True}))
    assert problems == [] and record.regions == () and record.unmarked == ("ship",)


def test_subsets_are_splits_and_a_missing_picture_is_not_taken_from_another(tmp_path: Path) -> None:
    for subset in ("train", "val", "test"):
        write(tmp_path, subset=subset)
    (tmp_path / "images" / "val" / "a.png").rename(tmp_path / "images" / "val" / "b.png")
    records, (problem,) = read(READER, tmp_path)
    assert [record.split for record in records] == ["train", "test"] and "images/val/a.png not found" in problem
    for path in (tmp_path, tmp_path / "annotations" / "train.json"):
        recipe, folder = find_recipe("auto", path, PROJECT)
        assert (recipe.title, folder) == ("Datumaro", tmp_path)


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (annotation("polyline", points=[1, 1, 2, 2]), "annotation 5: a polyline is no object"),
        (annotation("bbox", 9, bbox=[1, 1, 2, 2]), "a bbox without a label"),
        (annotation("bbox"), "bbox is missing"),
        (annotation("polygon", points=[1, 1, 2]), "3 numbers are no points"),
        (annotation("star"), "unknown annotation star"),
        (annotation("mask", rle={"counts": [3], "size": [2, 2]}), "run lengths of 3 pixels"),
    ],
)
def test_what_is_no_object_is_told(tmp_path: Path, one: dict[str, Any], message: str) -> None:
    record, (problem,) = record_of(tmp_path, one, annotation("bbox", bbox=[1, 1, 9, 9]))
    assert message in problem and len(record.regions) == 1


@pytest.mark.parametrize(
    "content",
    ['{"dm_format_version": "1.0"}', '{"dm_format_version": ', '{"dm_format_version": "1.0", "categories": 3}'],
)
def test_a_broken_file_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "train.json").write_text(content)
    with pytest.raises(VilamError, match=r"train\.json: ") as error:
        opened(READER, tmp_path)
    assert "\n" not in str(error.value)
