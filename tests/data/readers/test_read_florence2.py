"""Florence-2: tokens x before y, tasks by the prefix, names before or behind boxes, outlines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import PROJECT, read, write_image

from vilam.data.readers import find_recipe
from vilam.data.records import ImageRecord

FLORENCE = {"kind": "florence2"}
BOX = "<loc_100><loc_200><loc_500><loc_600>"
AT = (20.1, 20.05, 100.1, 60.05)
"""The box in pixels of a picture of 200 x 100: half a token is added to each."""


def write(root: Path, *pairs: tuple[str, str], split: str = "train") -> Path:
    """A data set with a question and an answer for each row; all are about one image of 200 x 100."""
    write_image(root / split / "a.jpg", (200, 100))
    rows = [{"image": "a.jpg", "prefix": prefix, "suffix": suffix} for prefix, suffix in pairs]
    (root / split / "annotations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def record_of(root: Path, *pairs: tuple[str, str]) -> ImageRecord:
    (record,), problems = read(FLORENCE, write(root, *pairs))
    assert problems == []
    return record


def test_names_of_detection_are_categories(tmp_path: Path) -> None:
    record = record_of(tmp_path, ("<OD>", f"ace of clubs{BOX}two<loc_0><loc_0><loc_999><loc_999>"))
    assert [region.category for region in record.regions] == ["ace of clubs", "two"] and record.unmarked == ()
    assert record.regions[0].box_xyxy == pytest.approx(AT)
    assert record.regions[1].box_xyxy == pytest.approx((0.1, 0.05, 199.9, 99.95))


def test_a_name_may_stand_behind_its_box(tmp_path: Path) -> None:
    record = record_of(tmp_path, ("<OD>", f"{BOX}fox<loc_0><loc_0><loc_9><loc_9>owl</s>"))
    assert [region.category for region in record.regions] == ["fox", "owl"]
    assert record.regions[0].box_xyxy == pytest.approx(AT)


@given(st.lists(st.integers(0, 999), min_size=4, max_size=4))
def test_any_tokens_are_read(values: list[int]) -> None:
    from vilam.data.readers.florence2 import _boxes

    assert _boxes("".join(f"<loc_{value}>" for value in values)) == [tuple(value + 0.5 for value in values)]


def test_phrases_are_expressions_of_one_object_or_several(tmp_path: Path) -> None:
    other = "<loc_0><loc_0><loc_90><loc_90>"
    answer = f"a fox{BOX}two owls{other}<loc_800><loc_800><loc_900><loc_900>"
    record = record_of(
        tmp_path,
        ("<CAPTION_TO_PHRASE_GROUNDING>a fox and two owls", answer),
        ("<DENSE_REGION_CAPTION>", f"a red fox that sleeps{BOX}"),
        ("<CAPTION_TO_PHRASE_GROUNDING>", ""),
    )
    assert [[each.text for each in region.expressions] for region in record.regions] == [
        ["a fox", "a red fox that sleeps"],
        [],
        [],
    ]
    (group,) = record.groups
    assert group.text == "two owls" and group.region_ids == tuple(r.region_id for r in record.regions[1:])


def test_an_outline_is_an_answer_to_an_expression(tmp_path: Path) -> None:
    ring = "<loc_100><loc_100><loc_300><loc_100><loc_200><loc_400>"
    part = "<loc_600><loc_600><loc_700><loc_600><loc_650><loc_900>"
    record = record_of(tmp_path, ("<REFERRING_EXPRESSION_SEGMENTATION>the left fox", f"<poly>{ring}<sep>{part}</poly>"))
    (region,) = record.regions
    assert [each.text for each in region.expressions] == ["the left fox"]
    assert [point[0] for point in region.polygons[0]] == pytest.approx([20.1, 60.1, 40.1])
    assert [point[1] for point in region.polygons[0]] == pytest.approx([10.05, 10.05, 40.05])
    assert region.box_xyxy == pytest.approx((20.1, 10.05, 140.1, 90.05)) and len(region.polygons) == 2


def test_a_question_about_a_box(tmp_path: Path) -> None:
    ring = "<loc_100><loc_200><loc_500><loc_200><loc_500><loc_600>"
    record = record_of(
        tmp_path,
        (f"<REGION_TO_DESCRIPTION>{BOX}", "the left fox"),
        (f"<REGION_TO_CATEGORY>{BOX}", f"fox{BOX}"),
        (f"<REGION_TO_SEGMENTATION>{BOX}", ring),
        ("<MORE_DETAILED_CAPTION>", "A fox in a wood."),
        ("<OCR_WITH_REGION>", f"sign{BOX}{BOX}"),
    )
    assert record.regions[0].category == "fox" and record.captions == ("A fox in a wood.",)
    assert [each.text for each in record.regions[0].expressions] == ["the left fox"]
    assert len(record.regions) == 2 and record.regions[1].polygons


def test_an_odd_number_of_tokens_is_told(tmp_path: Path) -> None:
    root = write(tmp_path, ("<OD>", f"fox{BOX}"), ("<OD>", "owl<loc_1><loc_2><loc_3>"))
    (record,), (problem,) = read(FLORENCE, root)
    assert len(record.regions) == 1 and "line 2: 3 <loc> tokens: expected four for each box" in problem


def test_it_is_recognised_with_its_splits(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write(tmp_path, ("<OD>", f"fox{BOX}"), split=split)
    recipe, root = find_recipe("auto", tmp_path, PROJECT)
    assert (recipe.title, root, recipe.exhaustive) == ("Florence-2 JSONL", tmp_path, True)
    assert [record.split for record in read(FLORENCE, tmp_path)[0]] == ["train", "val", "test"]
