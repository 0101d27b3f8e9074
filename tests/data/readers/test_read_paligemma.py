"""PaliGemma: tokens y before x, names that are categories or expressions, outlines that need a decoder."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import PROJECT, read, write_image

from vilam.data.readers import find_recipe

PALIGEMMA = {"kind": "paligemma"}


def write(root: Path, *pairs: tuple[str, str], file: str = "dataset/_annotations.all.jsonl") -> Path:
    """A data set with a question and an answer for each image, which is 64 x 32."""
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"image": f"{n}.jpg", "prefix": prefix, "suffix": suffix} for n, (prefix, suffix) in enumerate(pairs)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for row in rows:
        write_image(path.parent / row["image"], (64, 32))
    return root


def test_y_is_before_x_and_names_are_categories(tmp_path: Path) -> None:
    answer = "<loc0256><loc0128><loc0512><loc0896> open valve ; <loc0000><loc0000><loc1023><loc1023> pump<eos>"
    (first, second), problems = read(
        PALIGEMMA, write(tmp_path, ("detect open valve ; pump", answer), ("detect pump", ""))
    )
    assert problems == []
    assert [region.category for region in first.regions] == ["open valve", "pump"]
    assert first.regions[0].box_xyxy == pytest.approx((8, 8, 56, 16))
    assert first.regions[1].box_xyxy == pytest.approx((0, 0, 64, 32), abs=0.1)
    assert first.unmarked == () and second.regions == () and second.unmarked == ("open valve",)


@given(st.lists(st.integers(0, 1023), min_size=4, max_size=4))
def test_any_tokens_are_read(values: list[int]) -> None:
    from vilam.data.readers.paligemma import _objects

    tokens = "".join(f"<loc{value:04d}>" for value in values)
    y1, x1, y2, x2 = values
    assert _objects(f"{tokens} a b") == ([((x1, y1, x2, y2), "a b")], 0)


def test_names_that_are_used_once_are_expressions(tmp_path: Path) -> None:
    one = "<loc0256><loc0128><loc0512><loc0896>"
    two = "<loc0256><loc0128><loc0512><loc0256>"
    pairs = [(f"detect the valve number {n}", f"{one} the valve number {n}") for n in range(11)]
    pairs.append(("detect valves", f"{one} valves ; {two} valves"))
    records, problems = read(PALIGEMMA, write(tmp_path, *pairs))
    assert problems == [] and {region.category for record in records for region in record.regions} == {"object"}
    texts = [each.text for record in records for region in record.regions for each in region.expressions]
    assert sorted(texts) == sorted(f"the valve number {n}" for n in range(11))
    (group,) = (group for record in records for group in record.groups)
    assert group.text == "valves" and len(group.region_ids) == 2


def test_an_outline_is_told_as_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answer = "<loc0256><loc0128><loc0512><loc0896>" + "".join(f"<seg{n:03d}>" for n in range(16)) + " pump"
    with caplog.at_level(logging.WARNING):
        (record,), problems = read(PALIGEMMA, write(tmp_path, ("segment pump", answer)))
    assert problems == [] and record.regions[0].category == "pump" and not record.regions[0].polygons
    assert "outlines of 1 objects (<seg> tokens) left out" in caplog.text


def test_captions_are_kept_and_other_answers_are_not(tmp_path: Path) -> None:
    found = ("detect pump", "<loc0256><loc0128><loc0512><loc0896> pump")
    root = write(tmp_path, found, ("caption en", "a red pump"), ("answer en what is it?", "a pump"))
    records, _ = read(PALIGEMMA, root)
    assert {record.image_id: record.captions for record in records} == {"dataset/0": (), "dataset/1": ("a red pump",)}


def test_rows_of_florences_layout_are_recognised_by_their_tokens(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        answer = ("detect pump", "<loc0256><loc0128><loc0512><loc0896> pump")
        write(tmp_path, answer, file=f"{split}/annotations.jsonl")
    recipe, _ = find_recipe("auto", tmp_path, PROJECT)
    assert recipe.title == "PaliGemma JSONL"
    assert [record.split for record in read(PALIGEMMA, tmp_path)[0]] == ["train", "val", "test"]


def test_bad_rows_are_told(tmp_path: Path) -> None:
    root = write(tmp_path, ("detect pump", "<loc0256><loc0128><loc0512><loc0896> pump"))
    file = root / "dataset" / "_annotations.all.jsonl"
    rows = [{"image": "0.jpg", "prefix": 1}, {"prefix": "detect pump", "suffix": ""}, {"image": "0.jpg"}]
    file.write_text(file.read_text() + "".join(json.dumps(row) + "\n" for row in rows))
    records, problems = read(PALIGEMMA, root)
    assert len(records) == 1 and len(problems) == 3
    assert "line 2: expected image, prefix and suffix" in problems[0] and "line 3: no image is named" in problems[1]
