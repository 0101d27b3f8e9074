"""COCO: a small folder with every kind of row, and the real one if VILAM_TEST_DATA has it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from reading import opened, read, write_image

from vilam.data.masks import polygons_to_mask
from vilam.data.readers import coco
from vilam.data.readers.coco_rows import PERSON
from vilam.data.readers.source import Problem, RawRecord
from vilam.data.records import Region
from vilam.errors import VilamError
from vilam.geometry.boxes import xywh_to_xyxy

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
    assert {row.record.image_id[-1]: row.record.unmarked for row in _rows(root)[0]} == {"0": ("person",), "1": ()}


@pytest.mark.parametrize(
    ("change", "message", "kept"),
    [
        ({"category_id": 99}, "unknown category id 99", 1),
        ({"image_id": 55}, "its image 55 is not in the file", 1),
        ({"bbox": None, "segmentation": []}, "no bbox, no segmentation, no keypoints", 1),
        ({"bbox": [1, 2, 3], "segmentation": None}, "bbox is [1, 2, 3], not four numbers", 1),
        ({"bbox": [1, 2, 3]}, "bbox is [1, 2, 3], not four numbers", 2),
        ({"bbox": {"x": 1}}, "bbox is {'x': 1}, not four numbers", 2),
        ({"bbox": ["a", 2, 3, 4]}, "could not convert", 2),
        ({"bbox": [1, 2, [3], 4]}, "float() argument", 2),
        ({"segmentation": [[1, 2, 3]]}, "odd number", 2),
        ({"segmentation": [[1, 2, 3, 4], SQUARE]}, "a ring of 2 points left out", 2),
        ({"segmentation": [["a", 2, 3, 4, 5, 6], SQUARE]}, "a ring left out: could not convert", 2),
        ({"segmentation": "x"}, "outline left out: segmentation is str", 2),
        ({"segmentation": {"size": [30, 40], "counts": [1, 2]}}, "run lengths of 3 pixels", 2),
        ({"segmentation": {"size": [15, 20], "counts": [100, 200]}}, "a mask of 20x15 on an image of 40x30", 2),
        ({"segmentation": {"counts": [100]}}, "outline left out", 2),
        ({"keypoints": [1, 2]}, "keypoints of 2 values", 2),
        ({"keypoints": "none"}, "keypoints left out", 2),
        ({"bbox": [4, 6, 0, 9], "segmentation": []}, "box of no area: 4 6 4 15", 1),
    ],
)
def test_what_is_bad_of_an_annotation_is_told_and_the_rest_is_kept(
    tmp_path: Path, change: dict[str, Any], message: str, kept: int
) -> None:
    rows = [_annotation(), _annotation(id=2) | change]
    records, (problem,) = _rows(_folder(tmp_path, annotations=rows))
    regions = [region for row in records for region in row.record.regions]
    assert len(regions) == kept and {region.box_xyxy for region in regions} == {(4, 6, 24, 26)}
    assert "instances_train2017.json" in problem.location and problem.location.endswith("annotation 2")
    assert message in problem.message


@pytest.mark.parametrize(
    ("change", "box"),
    [
        ({"bbox": None}, (4, 6, 24, 26)),
        ({"bbox": [], "segmentation": SQUARE}, (4, 6, 24, 26)),
        ({"bbox": None, "segmentation": [[[4, 6], [24, 6], [24, 26]]]}, (4, 6, 24, 26)),
        ({"bbox": [0, 0, 0, 0], "segmentation": [], "keypoints": [5, 7, 2, 9, 8, 1]}, (5, 7, 9, 8)),
        ({"bbox": ["4", "6", "20", "20"], "segmentation": [[]]}, (4, 6, 24, 26)),
        ({"image_id": "0", "category_id": "7", "id": "one"}, (4, 6, 24, 26)),
        ({"category_id": 7.0, "image_id": 0.0, "iscrowd": "0"}, (4, 6, 24, 26)),
        ({"iscrowd": False, "segmentation": None}, (4, 6, 24, 26)),
        ({"iscrowd": None}, (4, 6, 24, 26)),
    ],
)
def test_other_spellings_are_read(tmp_path: Path, change: dict[str, Any], box: tuple[float, ...]) -> None:
    assert _region(_folder(tmp_path, annotations=[_annotation() | change])).box_xyxy == box


@pytest.mark.parametrize("crowd", [1, "1", True, "true", 1.0])
def test_a_crowd_is_no_object(tmp_path: Path, crowd: object) -> None:
    records, problems = _rows(_folder(tmp_path, 1, annotations=[_annotation(iscrowd=crowd)]))
    assert not problems and [row.record.regions for row in records] == [()]
    assert records[0].record.unmarked == ("person",)


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
        json.dumps({"annotations": [{"id": 1, "image_id": 0, "keypoints": [5, 7, 2, 8, 9, 1]}]})
    )
    (root / "captions_train2017.json").write_text(
        json.dumps({"annotations": [{"image_id": 0, "caption": " A man \n[here]. "}]})
    )
    records, _ = _rows(root)
    (record,) = (row.record for row in records if row.record.regions)
    assert record.captions == ("A man (here).",)
    assert record.regions[0].keypoints == ((5, 7, 2), (8, 9, 1))


@pytest.mark.parametrize("content", ["[", "[]", "{}", '{"images": [3], "annotations": [], "categories": []}'])
def test_a_file_that_is_not_coco_is_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / "instances_x.json").write_text(content)
    with pytest.raises(VilamError, match=r"instances_x\.json"):
        opened("coco", tmp_path)


def test_a_folder_without_annotations_is_reported(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match="no COCO file: expected a JSON file with lists of images"):
        opened("coco", tmp_path)


def _file(path: Path, images: list[dict[str, Any]], annotations: list[Any], **parts: Any) -> None:
    """A COCO file with the category 1, cell, and its pictures' rows numbered from 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"id": number, "width": 40, "height": 30} | row for number, row in enumerate(images, start=1)]
    content = {"images": rows, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    path.write_text(json.dumps(content | parts))


def _cell(image: int = 1, **change: Any) -> dict[str, Any]:
    return {"id": image, "image_id": image, "category_id": 1, "bbox": [4, 6, 20, 20]} | change


AUTO = {"kind": "coco"}
"""A reader that finds the files."""


@pytest.mark.parametrize(
    ("file", "picture", "listed"),
    [
        ("labels.json", "a.png", "a.png"),
        ("result.json", "images/1/a.png", "images/1/a.png"),
        ("result.json", "images/a b.png", "..\\..\\media\\upload\\1\\a b.png"),
        ("result.json", "images/a b.png", "/data/local-files/?d=cells/a%20b.png"),
        ("deep/er/x.json", "elsewhere/a.png", "https://somewhere.org/cells/a.png?token=1"),
        ("annotations/anything.json", "photos/A.PNG", "a.png"),
        ("annotations/instances_default.json", "images/sub/a.png", "sub/a.png"),
        ("labels.json", "data/a.png", "/home/somebody/fiftyone/cells/data/a.png"),
    ],
)
def test_any_file_in_any_folder_is_found(tmp_path: Path, file: str, picture: str, listed: str) -> None:
    write_image(tmp_path / picture)
    _file(tmp_path / file, [{"file_name": listed}], [_cell()])
    (record,), problems = read(AUTO, tmp_path)
    assert problems == [] and record.regions[0].box_xyxy == (4, 6, 24, 26)
    found = coco.recognises(tmp_path)
    assert found is not None and (found.title, found.root) == ("COCO", tmp_path)


def test_a_single_file_is_read_with_the_pictures_around_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "images" / f"{name}.png")
        _file(tmp_path / "annotations" / f"{name}.json", [{"file_name": f"{name}.png"}], [_cell()])
    found = coco.recognises(tmp_path / "annotations" / "a.json")
    assert found is not None and found.root == tmp_path
    assert [record.image_id for record in read(found.reader.model_dump(), found.root)[0]] == ["images/a"]
    assert len(read(AUTO, tmp_path / "annotations")[0]) == 2


def test_roboflow_names_the_project_as_a_category_that_is_none(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "crates", "supercategory": "none"},
        {"id": 1, "name": "cell", "supercategory": "crates"},
    ]
    for folder in ("train", "valid", "test"):
        write_image(tmp_path / folder / "a.png")
        licences = [{"id": 1, "name": "CC BY 4.0", "url": "there"}]
        rows = [{"file_name": "a.png", "license": 1}]
        _file(tmp_path / folder / "_annotations.coco.json", rows, [_cell()], categories=categories, licenses=licences)
    records, problems = read(AUTO, tmp_path)
    assert problems == [] and [record.split for record in records] == ["train", "val", "test"]
    assert opened(AUTO, tmp_path).categories == ("cell",) and {record.licence for record in records} == {"CC BY 4.0"}
    assert {record.image_id for record in records} == {"train/a", "valid/a", "test/a"}
    found = coco.recognises(tmp_path)
    assert found is not None and found.title == "Roboflow COCO"


def test_each_split_takes_pictures_of_its_own_folder_alone(tmp_path: Path) -> None:
    for colour, subset in enumerate(("Train", "Validation", "Test")):
        _file(tmp_path / "annotations" / f"instances_{subset}.json", [{"file_name": "f1.png"}], [_cell()])
        write_image(tmp_path / "images" / subset / "f1.png", colour=colour)
    (tmp_path / "images" / "Validation" / "f1.png").unlink()
    records, problems = read(AUTO, tmp_path)
    assert [record.image_id for record in records] == ["images/Train/f1", "images/Test/f1"]
    assert problems == ["annotations/instances_Validation.json: image 1: image file f1.png not found"]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("instances_train2017", "instances_val2017"), {"val": 0, "test": 1}),
        (("train", "validation", "testing"), {"train": 1, "val": 1, "test": 1}),
        (("train", "val", "test", "trainval"), {"train": 2, "val": 1, "test": 1}),
        (("train", "val", "query-A"), {"train": 1, "val": 1, "query_A": 1}),
        (("part1", "part2", "part3"), {"train": 1, "val": 1, "test": 1}),
    ],
)
def test_names_of_files_tell_splits(tmp_path: Path, names: tuple[str, ...], splits: dict[str, int]) -> None:
    for name in names:
        write_image(tmp_path / "pictures" / f"{name}.png")
        rows = [{"file_name": f"{name}.png"}]
        rows += [{"file_name": "train.png"}, {"file_name": "val.png"}] if name == "trainval" else []
        _file(tmp_path / f"{name}.json", rows, [_cell(number) for number in range(1, len(rows) + 1)])
    records, problems = read(AUTO, tmp_path)
    counts = Counter(record.split for record in records)
    assert problems == [] and len(records) == len(names)
    assert all(counts[split] == number for split, number in splits.items() if number)


def test_files_of_one_split_are_put_together(tmp_path: Path) -> None:
    """As COCO 2017 is: one person is in both files, one in that of the keypoints alone, and only it has the schema."""
    write_image(tmp_path / "train" / "a.png")
    own = [{"id": 5, "name": "cell"}, {"id": 1, "name": "person"}]
    person = {"id": 1, "name": "person", "keypoints": ["head", "foot"], "skeleton": [[1, 2], [2, 9]]}
    box, points = {"category_id": 1, "bbox": [1, 1, 9, 9]}, [2, 2, 2, 5, 5, 1]
    picture = [{"file_name": "a.png"}]
    _file(
        tmp_path / "annotations/instances_train.json",
        picture,
        [_cell(1, id=3, **box), _cell(category_id=5)],
        categories=own,
    )
    both = [_cell(1, id=3, keypoints=points, **box), _cell(1, id=9, keypoints=points, category_id=1)]
    _file(tmp_path / "annotations/person_keypoints_train.json", picture, both, categories=[person])
    caption = [{"id": 3, "image_id": 1, "caption": "Two."}]
    _file(tmp_path / "annotations/captions_train.json", picture, caption, categories=None)
    (record,), problems = read(AUTO, tmp_path)
    assert problems == [] and record.captions == ("Two.",) and record.unmarked == ()
    assert sorted((region.category, len(region.keypoints)) for region in record.regions) == [
        ("cell", 0),
        ("person", 2),
        ("person", 2),
    ]
    assert opened(AUTO, tmp_path).keypoints["person"].skeleton == ((0, 1),)


@pytest.mark.parametrize("with_val", [True, False])
def test_a_list_of_a_part_finds_its_pictures_in_the_folder_of_the_whole(tmp_path: Path, with_val: bool) -> None:
    """As minival2014: its pictures are in val2014, whose own file may be there too."""
    for tag, names in {"train2014": ["a"], "val2014": ["b", "c"]}.items():
        for name in names:
            write_image(tmp_path / tag / f"{name}.png", colour=ord(name))
    _file(tmp_path / "annotations" / "instances_train2014.json", [{"id": 1, "file_name": "a.png"}], [_cell()])
    _file(tmp_path / "annotations" / "instances_minival2014.json", [{"id": 1, "file_name": "b.png"}], [_cell()])
    if with_val:
        both = [{"id": 1, "file_name": "b.png"}, {"id": 2, "file_name": "c.png"}]
        _file(tmp_path / "annotations" / "instances_val2014.json", both, [_cell(), _cell(2, id=2)])
    records, problems = _rows(tmp_path)
    own = {row.record.image_id: row.record.split for row in records}
    held_out = {"val2014/b": "test", "val2014/c": "test"} if with_val else {"val2014/b": "minival2014"}
    assert problems == [] and own == {"train2014/a": "train", **held_out}


def test_masks_of_cvat_are_no_crowds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Datumaro, with which CVAT exports, writes an empty info, and iscrowd: 1 for every mask."""
    mask = np.zeros((30, 40), np.uint8, order="F")
    mask[6:26, 4:24] = 1
    rle = {"size": [30, 40], "counts": coco_mask.encode(mask)["counts"].decode()}
    info = dict.fromkeys(("contributor", "date_created", "description", "url", "version", "year"), "")
    write_image(tmp_path / "images" / "a.png")
    rows = [_cell(iscrowd=1, segmentation=rle), _cell(id=2)]
    _file(tmp_path / "annotations" / "instances_default.json", [{"file_name": "a.png"}], rows, info=info)
    labels = [{"id": 1, "image_id": 1, "category_id": 1}]
    _file(tmp_path / "annotations" / "labels_default.json", [{"file_name": "a.png"}], labels, info=info)
    ((row,), problems) = _rows(tmp_path)
    assert problems == [] and row.record.unmarked == ()
    assert [one.box_xyxy for one in row.record.regions] == [(4, 6, 24, 26)] * 2
    assert polygons_to_mask(row.record.regions[0].polygons, 40, 30).sum() == mask.sum()
    assert "iscrowd of 1 annotations is not regarded" in caplog.text


def test_a_file_of_crowds_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image(tmp_path / "a.png")
    _file(tmp_path / "cells.json", [{"file_name": "a.png"}], [_cell(iscrowd=1), _cell(id=2, iscrowd=1)])
    assert [row.record.regions for row in _rows(tmp_path)[0]] == [()]
    assert "2 of 2 annotations are crowds, which are no objects: if they are, set iscrowd to 0" in caplog.text


def _copied(root: Path, name: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """A set with train and val in one folder of pictures, and a changed copy of the file of train."""
    for number in (1, 2):
        write_image(root / "images" / f"{number}.png", colour=number)
    _file(root / "instances_train.json", [_picture(1)], [_cell()])
    _file(root / "instances_val.json", [_picture(2)], [_cell(2)])
    content = json.loads((root / "instances_train.json").read_text())
    change(content)
    (root / name).write_text(json.dumps(content))
    return root


def _picture(number: int) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number}.png", "width": 40, "height": 30}


@pytest.mark.parametrize("name", ["backup.json", "instances_train_2.json", "all.json"])
def test_a_copy_of_a_file_adds_nothing(name: str, tmp_path: Path) -> None:
    def renumbered(content: dict[str, Any]) -> None:
        content["images"][0]["id"] = content["annotations"][0]["image_id"] = 77
        content["annotations"][0]["id"] = 99

    records, problems = _rows(_copied(tmp_path, name, renumbered))
    assert problems == [] and sorted(len(row.record.regions) for row in records) == [1, 1]


def test_another_version_of_a_file_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def moved(content: dict[str, Any]) -> None:
        content["annotations"][0]["bbox"][0] += 1

    records, _ = _rows(_copied(tmp_path, "instances_train_2.json", moved))
    assert sorted(len(row.record.regions) for row in records) == [1, 2]
    assert "instances_train_2.json: other objects of pictures of" in caplog.text


@pytest.mark.parametrize("content", ["", "version https://git-lfs.github.com/spec/v1", '{"images": [{"id": 1, '])
def test_a_file_that_was_not_downloaded_whole_is_told(tmp_path: Path, content: str) -> None:
    root = _copied(tmp_path, "all.json", lambda content: None)
    (root / "instances_train.json").write_text(content)
    with pytest.raises(VilamError, match=r"instances_train.json: not readable as JSON"):
        opened("coco", root)


def test_captions_alone_are_told(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    rows = [{"id": 3, "image_id": 1, "caption": "Two."}]
    _file(tmp_path / "captions_train.json", [{"file_name": "a.png"}], rows, categories=[])
    with pytest.raises(VilamError, match="captions alone, no objects"):
        opened(AUTO, tmp_path)


def test_keypoints_without_a_schema_are_numbered(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    _file(tmp_path / "x.json", [{"file_name": "a.png"}], [_cell(keypoints=[1, 2, 2] * 4)])
    assert opened(AUTO, tmp_path).keypoints["cell"].names == ("point 1", "point 2", "point 3", "point 4")


def test_objects_with_one_id_and_pictures_listed_twice_are_kept(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")
    rows = [{"file_name": "a.png"}, {"file_name": "b.png"}, {"file_name": "a.png"}]
    cells = [_cell(1, id=1), _cell(2, id=1), _cell(3, id=1, bbox=[1, 1, 5, 5]), _cell(1, id=1, bbox=[1, 1, 6, 6])]
    _file(tmp_path / "x.json", rows, cells)
    records, problems = read(AUTO, tmp_path)
    assert problems == [] and {record.image_id: len(record.regions) for record in records} == {"a": 3, "b": 1}


def test_what_two_ids_leave_open_is_told(tmp_path: Path) -> None:
    for name in "abc":
        write_image(tmp_path / f"{name}.png")
    rows = [{"file_name": "a.png"}, {"file_name": "b.png"}, {"file_name": "c.png", "id": 1}]
    categories = [
        {"id": 1, "name": "cell"},
        {"id": 2, "name": "bead"},
        {"id": 2, "name": "dust"},
        {"id": 1, "name": " cell "},
    ]
    _file(tmp_path / "x.json", rows, [_cell(1), _cell(2), _cell(2, category_id=2)], categories=categories)
    (record,), problems = read(AUTO, tmp_path)
    assert record.image_id == "b" and [region.category for region in record.regions] == ["cell"]
    assert record.unmarked == ("bead", "dust")
    assert problems == [
        "x.json: image 1: c.png and a.png have the same id: whose annotations are they?",
        "x.json: image 2, annotation 2: category id 2 is bead and dust",
    ]


@pytest.mark.parametrize("licences", [None, [], "CC", [{"id": 1}], [None, 3]])
def test_without_a_licence_that_of_the_folder_counts(tmp_path: Path, licences: object) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "LICENSE").write_text("CC BY-SA 4.0\n")
    rows = [{"file_name": "a.png", "license": None, "width": None, "height": "wide"}]
    _file(tmp_path / "x.json", rows, [_cell()], licenses=licences, info=None)
    assert opened("coco", tmp_path).licences == ("CC BY-SA 4.0",)
    assert read(AUTO, tmp_path)[0][0].regions[0].box_xyxy == (4, 6, 24, 26)


def test_a_category_that_a_file_does_not_know_is_not_absent(tmp_path: Path) -> None:
    categories = [{"id": 4, "name": "bead"}, {"id": 9, "name": "cell"}]
    for split in ("train", "val"):
        write_image(tmp_path / split / f"{split}.png")
    _file(tmp_path / "train.json", [{"file_name": "train.png"}], [_cell()])
    _file(tmp_path / "val.json", [{"file_name": "val.png"}], [_cell(category_id=4)], categories=categories)
    records, _ = read(AUTO, tmp_path)
    assert [(one.image_id, one.regions[0].category, one.unmarked) for one in records] == [
        ("train/train", "cell", ("bead",)),
        ("val/val", "bead", ()),
    ]


def test_lvis_tells_what_is_absent(tmp_path: Path) -> None:
    """Of a, all objects are marked; of b, not all; c is absent; of d nothing is known."""
    write_image(tmp_path / "val2017" / "7.png")
    row = {"coco_url": "http://images.cocodataset.org/val2017/7.png", "neg_category_ids": [3]}
    row |= {"not_exhaustive_category_ids": [2]}
    categories = [{"id": number, "name": name} for number, name in enumerate("abcd", start=1)]
    cells = [_cell(category_id=1), _cell(category_id=2, bbox=[1, 1, 3, 3])]
    _file(tmp_path / "annotations" / "lvis_v1_train.json", [row], cells, categories=categories)
    (record,), problems = read(AUTO, tmp_path)
    assert problems == [] and record.unmarked == ("b", "d") and len(record.regions) == 2
    found = coco.recognises(tmp_path)
    assert found is not None and found.title == "LVIS"


def _boxes(change: Callable[[float, float, float, float], list[float]], outlined: bool) -> list[dict[str, Any]]:
    """Twelve objects, some of them far from the corner, with their boxes written in another way."""
    places = [(x, y, w, h) for x in (2, 12, 22) for y in (3, 18) for w, h in ((9, 8), (14, 10))]
    ring = lambda x, y, w, h: [[x, y, x + w, y, x + w, y + h, x, y + h]]  # noqa: E731
    return [
        _cell(1, id=number, bbox=change(*place), segmentation=ring(*place) if outlined else [])
        for number, place in enumerate(places)
    ]


@pytest.mark.parametrize("outlined", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y, w, h: [x, y, x + w, y + h], "bbox holds x1, y1, x2, y2, not x, y, width, height"),
        (lambda x, y, w, h: [x + w / 2, y + h / 2, w, h], "bbox holds centre x, centre y, width, height, not x, y"),
        (lambda x, y, w, h: [x / 40, y / 30, w / 40, h / 30], "bbox holds shares of the picture"),
        (lambda x, y, w, h: [x, y, w, h], None),
    ],
)
def test_numbers_that_are_no_coco_boxes_are_refused(
    tmp_path: Path, change: Callable[..., list[float]], message: str | None, outlined: bool
) -> None:
    write_image(tmp_path / "a.png")
    _file(tmp_path / "x.json", [{"file_name": "a.png"}], _boxes(change, outlined))
    if message is None:
        assert len(read(AUTO, tmp_path)[0][0].regions) == 12
        return
    with pytest.raises(VilamError, match=message) as error:
        opened(AUTO, tmp_path)
    assert "x.json" in str(error.value) and "\n" not in str(error.value)


def test_corners_that_fit_the_picture_are_known_by_the_areas(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    places = [(x, y, w, h) for x in (1, 3, 5) for y in (2, 4) for w, h in ((9, 8), (12, 6))]
    boxes = [{"bbox": [x, y, x + w, y + h], "area": w * h} for x, y, w, h in places]
    rows = [_cell(1, id=n, segmentation=[], **box) for n, box in enumerate(boxes)]
    _file(tmp_path / "x.json", [{"file_name": "a.png"}], rows)
    with pytest.raises(VilamError, match="bbox holds x1, y1, x2, y2, not x, y, width, height"):
        opened(AUTO, tmp_path)


def test_areas_of_outlines_do_not_make_boxes_corners(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    rows = [_cell(1, id=n, bbox=[n, 2, 9, 8], area=30, segmentation=[]) for n in range(12)]
    _file(tmp_path / "x.json", [{"file_name": "a.png"}], rows)
    assert len(read(AUTO, tmp_path)[0][0].regions) == 12


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"images": [], "annotations": [' + "[" * 100_000,
        '{"images": {}, "annotations": [], "categories": []}',
        '{"images": [{"id": 1}], "annotations": [{"image_id": 1}], "categories": 3}',
        '{"images": [null, 1, [], {"id": {}}, {"id": [1], "file_name": [2]}], "annotations": [1, {"image_id": {}}]}',
        '{"images": [{"id": 1, "file_name": "a\\u0000b.png"}], "annotations": []}',
        '{"images": [{"id": 1, "file_name": "' + "a" * 500 + '.png"}], "annotations": []}',
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "instances_x.json").write_text(content)
    with pytest.raises(VilamError, match=r"instances_x\.json|none of 1 pictures") as error:
        opened(AUTO, tmp_path)
    assert "\n" not in str(error.value)


def test_an_unlabelled_file_beside_labelled_ones_is_told(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_image(tmp_path / split / f"{split}.png")
        _file(tmp_path / f"{split}.json", [{"file_name": f"{split}.png"}], [_cell()] if split != "test" else [])
    records, problems = read(AUTO, tmp_path)
    assert {record.image_id for record in records} == {"train/train", "val/val"}
    assert problems == ["test.json: no annotations: its 1 pictures are not labelled, and are left out"]


@pytest.mark.parametrize("content", ['{"items": [], "categories": {}}', '[{"images": 1}]', "{", "", '{"shapes": []}'])
def test_files_of_other_formats_are_not_claimed(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    assert coco.recognises(tmp_path) is None and coco.recognises(tmp_path / "x.json") is None


def test_a_recipe_names_files_and_folders(tmp_path: Path) -> None:
    for split in ("a", "b"):
        write_image(tmp_path / "scans" / split / f"{split}.png")
        _file(tmp_path / "lists" / f"{split}.json", [{"file_name": f"{split}/{split}.png"}], [_cell()])
    reader = {"kind": "coco", "files": {"train+val": "lists/a.json", "test": "lists/b.json"}, "images": ["scans"]}
    records, problems = read(reader, tmp_path)
    assert problems == [] and {record.image_id: record.split for record in records}["scans/b/b"] == "test"
    with pytest.raises(VilamError, match=r"lists/c\.json: not found"):
        opened({**reader, "files": {"test": "lists/c.json"}}, tmp_path)


def test_masks_of_real_polygons_equal_those_of_pycocotools(real_data: Path) -> None:
    truth = COCO(str(real_data / "coco" / "instances_keypoints_val2017.json"))
    numbers = {
        (f"{one['image_id']:012d}", xywh_to_xyxy(one["bbox"])): number
        for number, one in truth.anns.items()
        if not one["iscrowd"]
    }
    checked = 0
    for row in opened("coco", real_data / "coco").rows:
        assert isinstance(row, RawRecord)
        if row.record.split == "test" and checked < 200:
            for region in row.record.regions:
                annotation = truth.anns[numbers[row.record.image_id.rpartition("/")[2], region.box_xyxy]]
                mask = polygons_to_mask(region.polygons, row.record.width, row.record.height)
                assert np.array_equal(mask, truth.annToMask(annotation).astype(bool))
                checked += 1
    assert checked >= 200


def test_the_real_person_schema_equals_the_built_in_one(real_data: Path) -> None:
    source = opened("coco", real_data / "coco")
    assert source.keypoints == {"person": PERSON}
    assert len(source.categories) == 80
