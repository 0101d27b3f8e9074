"""RefCOCO: all formats, resized images, COCO's polygons, groups, and real rows if VILAM_TEST_DATA has them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from reading import opened, write_image

from vilam.data.readers import refcoco
from vilam.data.readers.source import Problem, RawRecord
from vilam.data.records import ImageRecord
from vilam.errors import VilamError


def _flat(image: int, ref: int, text: str, box: Any = (10, 20, 30, 40)) -> dict[str, Any]:
    name = f"COCO_train2014_{image:012d}_{ref}"
    return {"img_id": name, "sents": text, "bbox": box, "height": 100, "width": 200}


def _folder(root: Path, **files: list[dict[str, Any]]) -> Path:
    (root / "images").mkdir(parents=True)
    for number, size in ((1, (200, 100)), (2, (50, 50))):
        Image.new("RGB", size).save(root / "images" / f"COCO_train2014_{number:012d}.jpg")
    for name, rows in files.items():
        (root / f"{name.replace('plus', '+')}.json").write_text(json.dumps(rows))
    return root


def _read(root: Path) -> tuple[dict[str, ImageRecord], list[Problem]]:
    return _read_set("refer", root)


def _read_set(name: str, root: Path) -> tuple[dict[str, ImageRecord], list[Problem]]:
    rows = list(opened(name, root).rows)
    records = {row.record.image_id: row.record for row in rows if isinstance(row, RawRecord)}
    return records, [row for row in rows if isinstance(row, Problem)]


def test_rows_of_one_region_are_merged(tmp_path: Path) -> None:
    rows = [
        _flat(1, 4, "the man"),
        _flat(1, 5, "a dog", [0, 0, 5, 5]),
        _flat(1, 4, " man  left "),
        _flat(1, 4, "the man"),
    ]
    records, problems = _read(_folder(tmp_path, refcocoplus_testA=rows))
    (record,) = records.values()
    assert problems == []
    assert record.split == "refcoco_plus_testA"
    man, dog = record.regions
    assert man.box_xyxy == (10, 20, 40, 60) and dog.box_xyxy == (0, 0, 5, 5)
    assert [(one.text, one.kind, one.source) for one in man.expressions] == [
        ("the man", "free", "human"),
        ("man left", "free", "human"),
    ]
    assert man.category == "object"


def test_boxes_are_scaled_to_a_resized_image(tmp_path: Path) -> None:
    records, _ = _read(_folder(tmp_path, refcocog_val=[_flat(2, 4, "the man")]))
    (record,) = records.values()
    assert (record.split, record.width, record.height) == ("refcocog_umd_val", 50, 50)
    assert record.regions[0].box_xyxy == pytest.approx((2.5, 10, 10, 30))


def test_polygons_and_category_come_from_coco(tmp_path: Path) -> None:
    root = _folder(tmp_path, refcoco_val=[_flat(2, 4, "the man")])
    annotation = {
        "id": 9,
        "image_id": 2,
        "category_id": 1,
        "bbox": [10, 20, 30, 40.5],
        "segmentation": [[10, 20, 40, 20, 40, 60]],
    }
    content = {"images": [], "annotations": [annotation], "categories": [{"id": 1, "name": "person"}]}
    (root / "instances.json").write_text(json.dumps(content))
    (record,) = _read(root)[0].values()
    assert record.regions[0].category == "person"
    assert record.regions[0].polygons[0][1] == pytest.approx((10, 10))


def test_train_holds_no_image_of_another_split(tmp_path: Path) -> None:
    root = _folder(tmp_path, refcoco_train=[_flat(1, 4, "a"), _flat(2, 4, "b")], refcocog_val=[_flat(2, 8, "c")])
    splits = sorted((record.split, record.image_id[-1]) for record in _read(root)[0].values())
    assert splits == [("refcocog_umd_val", "2"), ("train", "1")]


@pytest.mark.parametrize("change", [{"bbox": [1, 2]}, {"img_id": 3}, {"sents": None}, {"width": "wide"}])
def test_a_bad_row_is_a_problem(tmp_path: Path, change: dict[str, Any]) -> None:
    rows = [_flat(1, 4, "the man"), _flat(1, 6, "a dog") | change]
    records, (problem,) = _read(_folder(tmp_path, refcoco_val=rows))
    assert sum(bool(region.expressions) for record in records.values() for region in record.regions) == 1
    assert "refcoco_val.json: row 2" in problem.location


def test_a_missing_image_is_one_problem(tmp_path: Path) -> None:
    rows = [_flat(1, 4, "the man"), _flat(77, 4, "a"), _flat(77, 5, "b")]
    records, (problem,) = _read(_folder(tmp_path, refcoco_val=rows))
    assert len(records) == 1
    assert "COCO_train2014_000000000077.jpg not found" in problem.message


def test_a_folder_without_rows_is_reported(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=r"no rows of refcoco, refcoco_plus, .* in refs\.jsonl"):
        opened("refer", tmp_path)


def test_real_images_are_read_without_problems(real_data: Path) -> None:
    records, problems = _read(real_data / "refcoco_images")
    assert problems == []
    assert len({record.image_id.rpartition("_")[2] for record in records.values()}) == 26
    regions = [region for record in records.values() for region in record.regions]
    rows = [json.loads(line) for line in (real_data / "refcoco_images" / "refs.jsonl").read_text().splitlines()]
    distinct = {(row["split"], row["ref"], " ".join(row["expression"].split())) for row in rows}
    assert sum(len(region.expressions) for region in regions) == len(distinct)
    assert (
        sum(bool(region.polygons) for region in regions) > 0 and sum(bool(region.keypoints) for region in regions) > 0
    )
    for record in records.values():
        for region in record.regions:
            assert region.box_xyxy[2] <= record.width + 1 and region.box_xyxy[3] <= record.height + 1


REFS = [
    {
        "ref_id": 7,
        "ann_id": 9,
        "image_id": 2,
        "category_id": 1,
        "split": "testA",
        "file_name": "COCO_train2014_000000000002_9.jpg",
        "sent_ids": [0, 1],
        "sentences": [
            {"tokens": ["the", "man"], "raw": "The man", "sent_id": 0, "sent": "the man"},
            {"tokens": ["man", "left"], "raw": "man left", "sent_id": 1, "sent": "man left"},
        ],
    }
]
ANNOTATION = {
    "id": 9,
    "image_id": 2,
    "category_id": 1,
    "bbox": [10, 20, 30, 40],
    "segmentation": [[10, 20, 40, 20, 40, 60]],
}
INSTANCES = {
    "images": [{"id": 2, "file_name": "COCO_train2014_000000000002.jpg", "width": 200, "height": 100}],
    "annotations": [ANNOTATION],
    "categories": [{"id": 1, "name": "person"}],
}
MDETR = {
    "images": [
        {"id": i, "file_name": "COCO_train2014_000000000002.jpg", "width": 200, "height": 100, "caption": words}
        for i, words in enumerate(("the man", "man left"))
    ],
    "annotations": [
        {"id": i, "image_id": i, "bbox": [10, 20, 30, 40], "category_id": 1, "original_id": 9} for i in range(2)
    ],
    "categories": [{"id": 1, "name": "object"}],
}


def _release(root: Path, refs: Any = REFS, folder: str = "refcoco+", by: str = "unc", protocol: int = 2) -> Path:
    """A folder of the `refer` release."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / f"refs({by}).p").write_bytes(pickle.dumps(refs, protocol))
    (root / folder / "instances.json").write_text(json.dumps(INSTANCES))
    return root


@pytest.mark.parametrize("format_", ["flat", "lines", "refer", "mdetr"])
def test_every_format_gives_the_same_record(tmp_path: Path, format_: str) -> None:
    root = _folder(tmp_path)
    if format_ == "flat":
        rows = [_flat(2, 9, words) for words in ("the man", "man left")]
        (root / "refcoco+_testA.json").write_text(json.dumps(rows))
    elif format_ == "lines":
        row = {"image": "images/COCO_train2014_000000000002.jpg", "split": "refcoco+_testA", "ref": 9}
        row |= {"bbox_xywh_original_pixels": [10, 20, 30, 40], "original_width": 200, "original_height": 100}
        lines = [json.dumps({**row, "expression": words}) for words in ("the man", "man left")]
        (root / "refs.jsonl").write_text("\n".join(lines))
    elif format_ == "refer":
        _release(root)
    else:
        (root / "finetune_refcoco+_testA.json").write_text(json.dumps(MDETR))
    records, problems = _read(root)
    (record,) = records.values()
    (region,) = record.regions
    assert problems == [] and record.split == "refcoco_plus_testA"
    assert region.box_xyxy == pytest.approx((2.5, 10, 10, 30))
    assert [one.text for one in region.expressions] == ["the man", "man left"]
    assert region.category == ("person" if format_ == "refer" else "object")


def test_a_row_without_annotation_keeps_that_of_the_same_region(tmp_path: Path) -> None:
    row = {"image": "images/COCO_train2014_000000000002.jpg", "split": "refcoco+_testA", "ref": 9}
    row |= {"bbox_xywh_original_pixels": [10, 20, 30, 40], "original_width": 200, "original_height": 100}
    known = {"category": "person", "segmentation": ANNOTATION["segmentation"]}
    rows = [{**row, "expression": "the man"}, {**row, **known, "expression": "man left"}]
    for order in (rows, rows[::-1]):
        root = _folder(tmp_path / order[0]["expression"])
        (root / "refs.jsonl").write_text("\n".join(map(json.dumps, order)))
        (record,) = _read(root)[0].values()
        (region,) = record.regions
        assert (region.category, len(region.polygons), len(region.expressions)) == ("person", 1, 2)


@pytest.mark.parametrize("protocol", range(6))
def test_polygons_come_from_the_release(tmp_path: Path, protocol: int) -> None:
    (record,) = _read(_release(_folder(tmp_path), protocol=protocol))[0].values()
    assert record.regions[0].polygons == (((2.5, 10), (10, 10), (10, 30)),)


@pytest.mark.parametrize(
    ("folder", "by", "split"),
    [("refcoco", "unc", "refcoco_testA"), ("refcocog", "umd", "refcocog_umd_testA"), ("refcocog", "google", None)],
)
def test_a_recipe_reads_only_its_own_set(tmp_path: Path, folder: str, by: str, split: str | None) -> None:
    root = _release(_release(_folder(tmp_path)), folder=folder, by=by)
    name = split.removesuffix("_testA") if split else "refcocog_google"
    assert opened(name, root).splits == (split or "refcocog_google_testA",)
    assert len(opened("refer", root).splits) == 2


@pytest.mark.parametrize(
    "change", [{"ann_id": 99}, {"image_id": 99}, {"sentences": None}, {"split": None, "ann_id": 5}]
)
def test_a_bad_reference_is_a_problem(tmp_path: Path, change: dict[str, Any]) -> None:
    records, (problem,) = _read(_release(_folder(tmp_path), [*REFS, REFS[0] | change]))
    assert len(records) == 1 and problem.location.endswith("refs(unc).p: reference 2")


@pytest.mark.parametrize("content", [{"refs": REFS}, b"no pickle", b"", pickle.dumps(Path("x"))])
def test_a_broken_release_is_one_line(tmp_path: Path, content: Any) -> None:
    root = _release(_folder(tmp_path))
    path = root / "refcoco+" / "refs(unc).p"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    with pytest.raises(VilamError, match=r"refs\(unc\)\.p: (not read as a pickle|expected a list)") as error:
        _read(root)
    assert "\n" not in str(error.value)


def _grefs(root: Path, *refs: dict[str, Any]) -> Path:
    """A folder of gRefCOCO: a man and a dog on the second image, which is resized."""
    (root / "grefcoco").mkdir(parents=True, exist_ok=True)
    dog = {"id": 11, "image_id": 2, "category_id": 2, "bbox": [100, 50, 40, 50], "segmentation": []}
    content = INSTANCES | {"annotations": [ANNOTATION, dog]}
    content["categories"] = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    (root / "grefcoco" / "instances.json").write_text(json.dumps(content))
    (root / "grefcoco" / "grefs(unc).json").write_text(json.dumps(list(refs)))
    return root


def _gref(number: int, texts: str, ids: list[int], **change: Any) -> dict[str, Any]:
    sentences = [{"sent_id": 10 * number + i, "sent": sent} for i, sent in enumerate(texts.split(", "))]
    ref = {"ref_id": number, "image_id": 2, "split": "testB", "ann_id": ids, "no_target": ids == [-1]}
    return ref | {"file_name": "COCO_train2014_000000000002.jpg", "sentences": sentences} | change


def test_an_expression_of_grefcoco_means_several_regions_one_or_none(tmp_path: Path) -> None:
    refs = _gref(1, "both of them, man and dog", [9, 11]), _gref(2, "a cat", [-1]), _gref(3, "the dog", [11])
    records, problems = _read_set("grefcoco", _grefs(_folder(tmp_path), *refs, _gref(4, "a cow", [])))
    (record,) = records.values()
    man, dog = record.regions
    assert problems == [] and record.split == "grefcoco_testB"
    assert (man.category, dog.category) == ("person", "dog")
    assert dog.box_xyxy == pytest.approx((25, 25, 35, 50))
    meant = {group.text: [region.region_id for region in record.members(group)] for group in record.groups}
    both = [man.region_id, dog.region_id]
    expected = {"both of them": both, "man and dog": both, "a cat": [], "the dog": both[1:], "a cow": []}
    assert meant == expected
    assert len({group.group_id for group in record.groups}) == 5
    assert [[one.text for one in region.expressions] for region in record.regions] == [[], ["the dog"]]


@pytest.mark.parametrize("change", [{"ann_id": [99]}, {"image_id": 99}, {"sentences": None}, {"ann_id": None}])
def test_a_bad_reference_of_grefcoco_is_a_problem(tmp_path: Path, change: dict[str, Any]) -> None:
    refs = _gref(1, "both of them", [9, 11]), _gref(2, "a cat", [-1], **change)
    records, (problem,) = _read_set("grefcoco", _grefs(_folder(tmp_path), *refs))
    assert len(records) == 1 and problem.location.endswith("grefs(unc).json: reference 2")


def _parquet(path: Path, rows: list[dict[str, Any]], group: int = 2) -> None:
    """A file of regions with a picture of 60x40 in each row, in row groups of two."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path.with_name("picture.png"), (60, 40))
    image = {"bytes": path.with_name("picture.png").read_bytes(), "path": "a"}
    path.with_name("picture.png").unlink()
    own = {"image": image, "question": "?", "bbox": [1.0, 2.0, 10.0, 20.0], "iscrowd": 0, "answer": ["the man"]}
    own |= {"segmentation": [1.0, 2.0, 11.0, 2.0, 11.0, 22.0]}
    full = [{"question_id": str(number), **own, **row} for number, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(full), path, row_group_size=group)


def test_parquet_holds_images_regions_and_all_expressions(tmp_path: Path) -> None:
    first, second = "COCO_train2014_000000000007_3.jpg", "COCO_train2014_000000000007_4.jpg"
    rows = [
        {"file_name": first, "answer": ["the man", "man left"]},
        {"file_name": second, "bbox": [5.0, 5.0, 9.0, 9.0]},
    ]
    other = [{"file_name": "COCO_train2014_000000000008_0.jpg", "bbox": [1.0]}]
    _parquet(tmp_path / "data" / "testA-00000-of-00001.parquet", [*rows, *other])
    _parquet(tmp_path / "data" / "val-00000-of-00001.parquet", rows[:1])
    records, (problem,) = _read_set("refcoco", tmp_path)
    assert {(record.split, len(record.regions)) for record in records.values()} == {
        ("refcoco_testA", 2),
        ("refcoco_val", 1),
    }
    (record,) = (one for one in records.values() if one.split == "refcoco_testA")
    assert (record.width, record.height) == (60, 40)
    man, boxed = record.regions
    assert man.box_xyxy == (1, 2, 11, 22) and man.polygons == (((1, 2), (11, 2), (11, 22)),)
    assert [one.text for one in man.expressions] == ["the man", "man left"] and boxed.box_xyxy == (5, 5, 14, 14)
    assert problem.location.endswith("testA-00000-of-00001.parquet: row 3")


@pytest.mark.parametrize(
    ("folder", "sets"),
    [("RefCOCO", ("refcoco",)), ("RefCOCOplus", ("refcoco_plus",)), ("refcocog", ("refcocog_umd",))],
)
def test_the_folder_tells_the_set_of_parquet(tmp_path: Path, folder: str, sets: tuple[str, ...]) -> None:
    _parquet(tmp_path / folder / "data" / "val-00000-of-00001.parquet", [{"file_name": "a_1.jpg"}])
    found = refcoco.recognises(tmp_path / folder)
    assert found is not None and found.reader.model_dump()["sets"] == sets


def test_each_format_is_recognised(tmp_path: Path) -> None:
    assert refcoco.recognises(tmp_path) is None and refcoco.recognises(tmp_path / "nothing") is None
    flat = _folder(tmp_path / "flat", refcocoplus_val=[_flat(1, 4, "a")])
    (tmp_path / "mdetr" / "annotations").mkdir(parents=True)
    (tmp_path / "mdetr" / "annotations" / "finetune_refcocog_val.json").write_text(json.dumps(MDETR))
    both = _release(_grefs(_folder(tmp_path / "both"), _gref(1, "a cat", [-1])))
    row = {"split": "refcoco_testB", "bbox_xywh_original_pixels": [1, 2, 3, 4]}
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "refs.jsonl").write_text(json.dumps(row))
    expected = {
        flat: ("refcoco_plus",),
        tmp_path / "mdetr": ("refcocog_umd",),
        both: ("refcoco_plus", "grefcoco"),
        both / "grefcoco": ("refcoco_plus", "grefcoco"),
        tmp_path / "lines": ("refcoco",),
    }
    for folder, sets in expected.items():
        found = refcoco.recognises(folder)
        assert found is not None and found.reader.model_dump()["sets"] == sets, folder
    (tmp_path / "lines" / "refs.jsonl").write_text('{"image": 1}')
    assert refcoco.recognises(tmp_path / "lines") is None


def test_categories_of_mdetr_are_kept(tmp_path: Path) -> None:
    content = MDETR | {"categories": [{"id": 1, "name": "dog"}]}
    root = _folder(tmp_path)
    (root / "finetune_refcoco_testB.json").write_text(json.dumps(content))
    (record,) = _read(root)[0].values()
    assert [region.category for region in record.regions] == ["dog"]


def test_images_of_coco_2017_are_those_of_2014(tmp_path: Path) -> None:
    root = _folder(tmp_path, refcoco_val=[_flat(9, 4, "the man")])
    write_image(root / "train2017" / "000000000009.jpg", (200, 100))
    (record,) = _read(root)[0].values()
    assert record.regions[0].box_xyxy == (10, 20, 40, 60)


def test_a_tagged_image_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    root = _folder(tmp_path, refcoco_val=[_flat(9, 4, "the man")])
    Image.new("RGB", (100, 200)).save(root / "images" / "COCO_train2014_000000000009.jpg", exif=exif)
    (record,) = _read(root)[0].values()
    assert (record.width, record.height) == (200, 100)
    assert record.regions[0].box_xyxy == (10, 20, 40, 60)


def test_a_broken_outline_costs_only_itself(tmp_path: Path) -> None:
    """And the groups that follow keep their regions."""
    root = _grefs(_folder(tmp_path), _gref(1, "both of them", [9, 11]), _gref(2, "the dog", [11]))
    path = root / "grefcoco" / "instances.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = [[1, 2, 3]]
    path.write_text(json.dumps(content))
    records, (problem,) = _read_set("grefcoco", root)
    (record,) = records.values()
    assert "odd number" in problem.message
    assert [[one.category for one in record.members(group)] for group in record.groups] == [["person", "dog"], ["dog"]]


@pytest.mark.parametrize("content", ["{}", "3", "[3, null]", "[" * 100_000, '[{"img_id": [], "sents": {}, "bbox": 7}]'])
def test_a_broken_flat_file_is_one_line(tmp_path: Path, content: str) -> None:
    root = _folder(tmp_path)
    (root / "refcoco_val.json").write_text(content)
    with pytest.raises(VilamError, match=r"refcoco_val\.json") as error:
        opened("refcoco", root)
    assert "\n" not in str(error.value)
