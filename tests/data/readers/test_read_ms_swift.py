"""ms-swift: places that are filled in order, kinds of coordinates, several images, the rows of version 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from reading import PROJECT, read, write_image

from vilam.data.readers import find_recipe
from vilam.data.records import ImageRecord

SWIFT = {"kind": "ms_swift"}
A, B = [10.0, 20.5, 30.0, 40.0], [100.0, 50.0, 150.0, 90.0]


def write(root: Path, *rows: dict[str, Any], file: str = "rows.jsonl") -> Path:
    """Rows about images of 200 x 100, images/a.jpg and images/b.jpg."""
    for name in "ab":
        write_image(root / "images" / f"{name}.jpg", (200, 100), colour=ord(name))
    (root / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def row(question: str, answer: str, objects: object, images: tuple[str, ...] = ("images/a.jpg",)) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "images": list(images), "objects": objects}


def record_of(root: Path) -> ImageRecord:
    (record,), problems = read(SWIFT, root)
    assert problems == []
    return record


def texts(record: ImageRecord) -> list[list[str]]:
    return [[each.text for each in region.expressions] for region in record.regions]


def test_places_are_filled_in_order(tmp_path: Path) -> None:
    objects = {"ref": ["a fox", "an owl"], "bbox": [A, B]}
    record = record_of(
        write(tmp_path, row("<image>Describe it.", "<ref-object><bbox> and <ref-object><bbox>", objects))
    )
    assert [region.box_xyxy for region in record.regions] == [tuple(A), tuple(B)]
    assert texts(record) == [["a fox"], ["an owl"]]


def test_words_mean_two_boxes_and_rows_of_one_image_are_one_record(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        row("<image>Find <ref-object>", "<bbox><bbox>", {"ref": ["animals"], "bbox": [A, B]}),
        row("<image>Find <ref-object>", "<bbox>", {"ref": ["the left fox"], "bbox": [A]}),
        row("<image>This <bbox> is", "<ref-object>", {"ref": ["the owl"], "bbox": [B]}),
        row("<image>Describe <bbox>", "A sleeping owl.", {"ref": [], "bbox": [B]}),
    )
    record = record_of(root)
    assert texts(record) == [["the left fox"], ["the owl", "A sleeping owl"]]
    (group,) = record.groups
    assert group.text == "animals" and group.region_ids == tuple(region.region_id for region in record.regions)


@pytest.mark.parametrize(("kind", "across", "down"), [("real", 1, 1), ("norm1", 1 / 200, 1 / 100), ("norm1000", 5, 10)])
def test_three_kinds_of_coordinates(tmp_path: Path, kind: str, across: float, down: float) -> None:
    box = [A[0] * across, A[1] * down, A[2] * across, A[3] * down]
    objects = {"ref": ["a fox"], "bbox": [box], "bbox_type": kind}
    record = record_of(write(tmp_path, row("<image>Find <ref-object>", "<bbox>", objects)))
    assert record.regions[0].box_xyxy == pytest.approx(A)


def test_corners_in_any_order_are_put_in_order(tmp_path: Path) -> None:
    objects = {"ref": ["a fox"], "bbox": [[30, 40, 10, 20.5]]}
    assert record_of(write(tmp_path, row("Find <ref-object>", "<bbox>", objects))).regions[0].box_xyxy == tuple(A)


def test_json_answers_name_categories(tmp_path: Path) -> None:
    answer = '[\n\t{"bbox_2d": <bbox>, "label": "<ref-object>"},\n\t{"bbox_2d": <bbox>, "label": "<ref-object>"}\n]'
    record = record_of(write(tmp_path, row("<image>Detect all.", answer, {"ref": ["fox", "owl"], "bbox": [A, B]})))
    assert [region.category for region in record.regions] == ["fox", "owl"] and texts(record) == [[], []]


def test_boxes_are_in_the_images_that_their_numbers_name(tmp_path: Path) -> None:
    objects = {"ref": ["a fox", "an owl"], "bbox": [A, B], "image_id": [1, 0]}
    images = ("images/a.jpg", "images/b.jpg")
    root = write(tmp_path, row("<image><image>Find <ref-object><ref-object>", "<bbox><bbox>", objects, images))
    records = {record.image_id: record for record in read(SWIFT, root)[0]}
    assert texts(records["images/b"]) == [["a fox"]] and texts(records["images/a"]) == [["an owl"]]


def test_the_rows_of_version_2(tmp_path: Path) -> None:
    one = [{"caption": "a fox", "bbox": [A, B], "bbox_type": "real", "image": 0}]
    two = [{"caption": "an owl", "bbox": [500, 500, 750, 900], "bbox_type": "norm_1000", "image": 0}]
    query = {"query": "Find <ref-object>", "response": "<bbox>"}
    root = write(
        tmp_path,
        {**query, "images": ["images/a.jpg"], "objects": json.dumps(one)},
        {**query, "images": ["images/b.jpg"], "objects": two},
    )
    records, problems = read(SWIFT, root)
    assert problems == []
    by_id = {record.image_id: record for record in records}
    assert [group.text for group in by_id["images/a"].groups] == ["a fox"] and len(by_id["images/a"].regions) == 2
    assert by_id["images/b"].regions[0].box_xyxy == pytest.approx(B) and texts(by_id["images/b"]) == [["an owl"]]


def test_a_row_with_objects_is_a_picture_and_one_without_is_not(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        row("<image>Detect all.", "[]", {"ref": [], "bbox": []}),
        {**row("<image>What is it?", "A fox.", None, ("images/b.jpg",))},
    )
    record = record_of(root)
    assert record.regions == () and record.image_id == "images/a"


def test_bad_rows_are_told_and_their_good_boxes_are_kept(tmp_path: Path) -> None:
    find = ("<image>Find <ref-object>", "<bbox><bbox>")
    root = write(
        tmp_path,
        row(*find, {"ref": ["a fox"], "bbox": [A, [1, 2]]}),
        row(*find, {"ref": ["a fox"], "bbox": [A], "bbox_type": "real2"}),
        row(*find, {"ref": ["a fox"], "bbox": [A], "image_id": [3]}),
        row(*find, {"ref": ["a fox"], "bbox": [A], "bbox_type": "norm1"}),
        row(*find, {"ref": ["a fox"], "bbox": [A]}, images=()),
    )
    (record,), problems = read(SWIFT, root)
    assert texts(record) == [["a fox"]] and len(problems) == 5
    for number, message in enumerate(["four numbers", "bbox_type real2", "in image 3, of 1", "another bbox_type"]):
        assert any(f"line {number + 1}: " in problem and message in problem for problem in problems)


def test_a_box_without_a_place_is_a_region(tmp_path: Path) -> None:
    record = record_of(write(tmp_path, row("Find <ref-object>", "<bbox>", {"ref": ["a fox"], "bbox": [A, B]})))
    assert texts(record) == [["a fox"], []]


def test_it_is_recognised_before_other_conversations(tmp_path: Path) -> None:
    root = write(tmp_path, row("Where is [1, 2, 3, 4]?", "<bbox>", {"ref": [], "bbox": [A]}), file="val.jsonl")
    recipe, _ = find_recipe("auto", root, PROJECT)
    assert recipe.title == "ms-swift grounding rows"
