"""ODVG: detection by label, phrases of captions, expressions, label maps, bad rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from reading import PROJECT, read, write_image

from vilam.data.readers import find_recipe
from vilam.data.records import ImageRecord
from vilam.errors import VilamError

ODVG = {"kind": "odvg"}


def write(root: Path, *rows: dict[str, Any], file: str = "annotations/all_od.jsonl", **names: str) -> Path:
    """A data set with a row of each image, which is 40 x 30, and a label map if there are names."""
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    sides = {"width": 40, "height": 30}
    path.write_text("".join(json.dumps({**sides, **row}) + "\n" for row in rows))
    for row in rows:
        write_image(root / "images" / str(row["filename"]))
    if names:
        (path.parent / "label_map.json").write_text(json.dumps({key.removeprefix("n"): v for key, v in names.items()}))
    return root


def detection(*instances: dict[str, Any]) -> dict[str, Any]:
    return {"detection": {"instances": list(instances)}}


def texts(record: ImageRecord) -> list[list[str]]:
    return [[each.text for each in region.expressions] for region in record.regions]


def test_labels_have_the_names_of_the_label_map(tmp_path: Path) -> None:
    instances = [{"bbox": [1, 2, 11.5, 12], "label": 1, "category": "bird"}, {"bbox": [5, 5, 9, 9], "label": "0"}]
    root = write(tmp_path, {"filename": "a.jpg", **detection(*instances)}, n0="fox", n1="owl")
    (record,), problems = read(ODVG, root)
    assert problems == [] and record.unmarked == ()
    assert [(r.category, r.box_xyxy) for r in record.regions] == [("owl", (1, 2, 11.5, 12)), ("fox", (5, 5, 9, 9))]


def test_without_a_label_map_the_category_is_the_name(tmp_path: Path) -> None:
    one = {"bbox": [1, 2, 11, 12], "label": 0, "category": "fox"}
    nameless = {"bbox": [1, 2, 11, 12], "label": 7}
    (record,), (problem,) = read(ODVG, write(tmp_path, {"filename": "a.jpg", **detection(one, nameless)}))
    assert [region.category for region in record.regions] == ["fox"]
    assert "line 1: instance 2: label 7 has no name: put label_map.json" in problem


def test_a_phrase_means_one_region_or_several(tmp_path: Path) -> None:
    regions = [
        {"bbox": [1, 1, 9, 9], "phrase": "a fox", "tokens_positive": [[0, 5]]},
        {"bbox": [[11, 1, 19, 9], [21, 1, 29, 9]], "phrase": ["two", "owls"], "tokens_positive": [[10, 13]]},
        {"bbox": [2, 2, 8, 8], "tokens_positive": [[2, 5]]},
        {"bbox": [31, 1, 39, 9], "phrase": "owl"},
        {"bbox": [31, 11, 39, 19], "phrase": "owl"},
    ]
    row = {"filename": "a.jpg", "grounding": {"caption": "a fox and two owls", "regions": regions}}
    (record,), problems = read(ODVG, write(tmp_path, row))
    assert problems == [] and record.captions == ("a fox and two owls",)
    assert {region.category for region in record.regions} == {"object"} and record.unmarked == ("object",)
    assert texts(record) == [["a fox"], [], [], ["fox"], [], []]
    ids = [region.region_id for region in record.regions]
    assert {(group.text, group.region_ids) for group in record.groups} == {
        ("two owls", (ids[1], ids[2])),
        ("owl", (ids[4], ids[5])),
    }


def test_phrases_one_after_the_other_are_no_caption(tmp_path: Path) -> None:
    regions = [{"bbox": [1, 1, 9, 9], "phrase": "a fox"}, {"bbox": [11, 1, 19, 9], "phrase": "an owl"}]
    row = {"filename": "a.jpg", "grounding": {"caption": "a fox . an owl .", "regions": regions}}
    assert read(ODVG, write(tmp_path, row))[0][0].captions == ()


def test_a_reference_has_several_expressions_and_rows_of_one_picture_are_one(tmp_path: Path) -> None:
    box = [1.0, 2.0, 11.0, 12.0]
    reference = {"filename": "a.jpg", "referring": [{"bbox": box, "phrase": ["left fox", "fox on the left"]}]}
    found = {"filename": "a.jpg", **detection({"bbox": box, "label": 0, "category": "fox"})}
    (record,), problems = read(ODVG, write(tmp_path, reference, found, file="rows.json"))
    assert problems == [] and [region.category for region in record.regions] == ["fox"]
    assert texts(record) == [["left fox", "fox on the left"]]


def test_a_picture_of_phrases_alone_says_nothing_about_categories(tmp_path: Path) -> None:
    first = {"filename": "a.jpg", **detection({"bbox": [1, 1, 9, 9], "label": 0, "category": "fox"})}
    second = {"filename": "b.jpg", "grounding": {"caption": "", "regions": [{"bbox": [1, 1, 9, 9], "phrase": "it"}]}}
    records, _ = read(ODVG, write(tmp_path, first, second))
    assert {record.image_id: record.unmarked for record in records} == {
        "images/a": ("object",),
        "images/b": ("fox", "object"),
    }


def test_bad_rows_are_told_and_the_others_are_read(tmp_path: Path) -> None:
    boxes: list[object] = [[1, 2, 3], "all", [1, 2, float("nan"), 4], [9, 1, 1, 9]]
    root = write(tmp_path, {"filename": "a.jpg", **detection(*({"bbox": box, "category": "fox"} for box in boxes))})
    file = root / "annotations" / "all_od.jsonl"
    file.write_text(file.read_text() + "not JSON\n[1]\n" + json.dumps({"detection": {}}) + "\n" + "[" * 200_000 + "\n")
    (record,), problems = read(ODVG, root)
    assert [region.box_xyxy for region in record.regions] == [(1, 1, 9, 9)]
    assert len(problems) == 7 and all("\n" not in problem for problem in problems)
    assert any("line 2: not JSON" in problem for problem in problems)
    assert any("line 4: no image is named" in problem for problem in problems)


def test_files_name_their_splits_and_are_recognised(tmp_path: Path) -> None:
    row = detection({"bbox": [1, 1, 9, 9], "label": 0, "category": "fox"})
    for split in ("train", "val", "test"):
        write(tmp_path, {"filename": f"{split}.jpg", **row}, file=f"coco_{split}2017_od.json")
    recipe, root = find_recipe("auto", tmp_path, PROJECT)
    assert recipe.title.startswith("ODVG") and root == tmp_path
    assert [record.split for record in read(ODVG, root)[0]] == ["train", "val", "test"]
    recipe, root = find_recipe("auto", tmp_path / "coco_val2017_od.json", PROJECT)
    assert root == tmp_path and recipe.reader.model_dump()["files"] == {"val": "coco_val2017_od.json"}


def test_a_folder_without_rows_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"images": []}')
    with pytest.raises(VilamError, match=r"no file with rows of odvg: check prepare.root, or name reader.files"):
        read(ODVG, tmp_path)
    with pytest.raises(VilamError, match=r"no file rows.jsonl: check reader.files"):
        read({**ODVG, "files": {"train": "rows.jsonl"}}, tmp_path)


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_half_a_character_becomes_a_question_mark(tmp_path: Path, suffix: str) -> None:
    one = {"bbox": [1, 1, 9, 9], "label": 0, "category": "fox\ud800"}
    root = write(tmp_path, {"filename": "a.jpg", **detection(one)}, file=f"rows.{suffix}")
    (record,), _ = read(ODVG, root)
    assert record.regions[0].category == "fox?"


@pytest.mark.parametrize("depth", [600, 100_000])
def test_deep_nesting_is_one_line(tmp_path: Path, depth: int) -> None:
    row = {"filename": "a.jpg", **detection({"bbox": [1, 1, 9, 9], "label": 0, "category": "fox"})}
    (tmp_path / "rows.json").write_text(f"[{json.dumps(row)}, {'[' * depth}{']' * depth}]")
    write_image(tmp_path / "a.jpg")
    try:
        assert len(read(ODVG, tmp_path)[0]) == 1
    except VilamError as error:
        assert "\n" not in str(error)
