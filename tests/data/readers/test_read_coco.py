"""COCO: a small folder with every kind of row, and the real one if VILAM_TEST_DATA has it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from reading import opened

from vilam.data.masks import polygons_to_mask
from vilam.data.readers.coco import PERSON
from vilam.data.readers.source import Problem, RawRecord
from vilam.data.records import Region
from vilam.errors import VilamError

SQUARE = [4, 6, 24, 6, 24, 26, 4, 26]
CATEGORIES = [
    {"id": 7, "name": "person", "keypoints": ["head", "foot"], "skeleton": [[1, 2]]},
    {"id": 3, "name": "hot dog"},
]


def _folder(root: Path, images: int = 2, tag: str = "train2017", **rows: Any) -> Path:
    """A COCO folder of 40x30 images with the lists ``rows``, such as annotations."""
    (root / "images" / tag).mkdir(parents=True)
    listed = []
    for number in range(images):
        Image.new("RGB", (40, 30), (number, 90, 90)).save(root / "images" / tag / f"{number}.png")
        listed.append({"id": number, "file_name": f"{number}.png", "width": 40, "height": 30, "license": 1})
    content = {"images": listed, "annotations": [], "categories": CATEGORIES, "licenses": [{"id": 1, "name": "CC"}]}
    (root / f"instances_{tag}.json").write_text(json.dumps(content | rows))
    return root


def _annotation(**changes: Any) -> dict[str, Any]:
    default = {"id": 1, "image_id": 0, "category_id": 7, "bbox": [4, 6, 20, 20], "segmentation": [SQUARE], "iscrowd": 0}
    return default | changes


def _rows(root: Path) -> tuple[list[RawRecord], list[Problem]]:
    rows = list(opened("coco", root).rows)
    return [row for row in rows if isinstance(row, RawRecord)], [row for row in rows if isinstance(row, Problem)]


def _region(root: Path) -> Region:
    records, problems = _rows(root)
    assert problems == []
    (region,) = (region for row in records for region in row.record.regions)
    return region


def test_box_category_polygons_and_keypoints_are_read(tmp_path: Path) -> None:
    region = _region(_folder(tmp_path, annotations=[_annotation(keypoints=[5, 7, 2, 0, 0, 0])]))
    assert region.box_xyxy == (4, 6, 24, 26)
    assert region.category == "person"
    assert region.polygons == (((4, 6), (24, 6), (24, 26), (4, 26)),)
    assert region.keypoints == ((5, 7, 2), (0, 0, 0))


def test_source_has_categories_keypoints_licences_and_count(tmp_path: Path) -> None:
    source = opened("coco", _folder(tmp_path))
    assert source.categories == ("person", "hot dog")
    assert source.keypoints["person"].skeleton == ((0, 1),)
    assert source.licences == ("CC",)
    assert source.num_images == 2


def test_two_files_may_use_one_category_id_for_different_categories(tmp_path: Path) -> None:
    _folder(tmp_path, annotations=[_annotation(keypoints=[5, 7, 2, 0, 0, 0])])
    other = [{"id": 7, "name": "cat"}]
    _folder(tmp_path, tag="val2017", categories=other, annotations=[_annotation(id=2)])
    source = opened("coco", tmp_path)
    regions = [region.category for row in source.rows for region in row.record.regions]  # type: ignore[union-attr]
    assert sorted(regions) == ["cat", "person"] and {*regions} <= {*source.categories}
    assert list(source.keypoints) == ["person"]


def test_run_lengths_become_polygons(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), dtype=np.uint8)
    mask[6:26, 4:24] = 1
    flat = mask.ravel(order="F")
    counts = np.diff(np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])).tolist()
    region = _region(_folder(tmp_path, annotations=[_annotation(segmentation={"size": [30, 40], "counts": counts})]))
    assert np.array_equal(polygons_to_mask(region.polygons, 40, 30), mask.astype(bool))


def test_crowds_and_unlabelled_keypoints_are_left_out(tmp_path: Path) -> None:
    crowd = _annotation(id=2, iscrowd=1, segmentation={"size": [30, 40], "counts": [1200]})
    root = _folder(tmp_path, annotations=[_annotation(keypoints=[0] * 6), crowd])
    assert _region(root).keypoints == ()
    assert [row.record.unmarked for row in _rows(root)[0]] == [("person",), ()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category_id": 99}, "unknown category id 99"),
        ({"image_id": 55}, "its image 55 is not in the file"),
        ({"bbox": [1, 2, 3]}, "bbox is [1, 2, 3], not four numbers"),
        ({"bbox": None}, "bbox is None"),
        ({"bbox": ["a", 2, 3, 4]}, "could not convert"),
        ({"segmentation": [[1, 2, 3]]}, "odd number"),
        ({"segmentation": "x"}, "segmentation is str"),
        ({"segmentation": {"size": [30, 40], "counts": [1, 2]}}, "run lengths of 3 pixels"),
        ({"keypoints": [1, 2]}, "keypoints of 2 values"),
    ],
)
def test_each_bad_annotation_is_a_problem(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    rows = [_annotation(), _annotation(id=2) | change]
    records, (problem,) = _rows(_folder(tmp_path, annotations=rows))
    assert sum(len(row.record.regions) for row in records) == 1
    assert "instances_train2017.json: annotation 2" in problem.location
    assert message in problem.message


def test_a_missing_image_file_is_a_problem(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    (root / "images" / "train2017" / "1.png").unlink()
    records, (problem,) = _rows(root)
    assert len(records) == 1
    assert problem.message == "image file 1.png not found"


def test_splits_of_one_file_and_of_two(tmp_path: Path) -> None:
    _folder(tmp_path, images=100)
    one = Counter(row.record.split for row in _rows(tmp_path)[0])
    assert set(one) == {"train", "val", "test"} and one["train"] > 60
    _folder(tmp_path, images=5, tag="val2017")
    records = _rows(tmp_path)[0]
    two = Counter(row.record.split for row in records)
    assert two["test"] == 5 and two["train"] > 75 and two["val"] == one["val"]
    assert len({row.record.image_id for row in records}) == 105


def test_keypoints_and_captions_are_read_from_files_of_their_own(tmp_path: Path) -> None:
    root = _folder(tmp_path, annotations=[_annotation()])
    (root / "person_keypoints_train2017.json").write_text(
        json.dumps({"annotations": [{"id": 1, "keypoints": [5, 7, 2, 8, 9, 1]}]})
    )
    (root / "captions_train2017.json").write_text(
        json.dumps({"annotations": [{"image_id": 0, "caption": " A man \n[here]. "}]})
    )
    records, _ = _rows(root)
    assert records[0].record.captions == ("A man (here).",)
    assert records[0].record.regions[0].keypoints == ((5, 7, 2), (8, 9, 1))


@pytest.mark.parametrize("content", ["[", "[]", "{}", '{"images": [3], "annotations": [], "categories": []}'])
def test_a_file_that_is_not_coco_is_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / "instances_x.json").write_text(content)
    with pytest.raises(VilamError, match=r"instances_x\.json"):
        opened("coco", tmp_path)


def test_a_folder_without_annotations_is_reported(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=r"no instances\*.json"):
        opened("coco", tmp_path)


def test_masks_of_real_polygons_equal_those_of_pycocotools(real_data: Path) -> None:
    truth = COCO(str(real_data / "coco" / "instances_keypoints_val2017.json"))
    checked = 0
    for row in opened("coco", real_data / "coco").rows:
        assert isinstance(row, RawRecord)
        if row.record.split == "test" and checked < 200:
            for region in row.record.regions:
                annotation = truth.anns[int(region.region_id.rpartition("_")[2])]
                mask = polygons_to_mask(region.polygons, row.record.width, row.record.height)
                assert np.array_equal(mask, truth.annToMask(annotation).astype(bool))
                checked += 1
    assert checked >= 200


def test_the_real_person_schema_equals_the_built_in_one(real_data: Path) -> None:
    source = opened("coco", real_data / "coco")
    assert source.keypoints == {"person": PERSON}
    assert len(source.categories) == 80
