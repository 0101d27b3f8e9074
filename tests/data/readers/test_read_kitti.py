"""KITTI: columns, DontCare, lists of splits, pictures without labels, bad lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import PROJECT, read, write_image

from vilam.data.readers import find_recipe
from vilam.data.readers.kitti import _is_kitti

READER = {"kind": "kitti"}
REST = "1.5 1.6 3.8 -2.7 1.7 23.6 -1.3"


def line(category: str = "Car", box: str = "4.00 5.00 20.00 15.00") -> str:
    return f"{category} 0.00 1 1.99 {box} {REST}\n"


def write(root: Path, labels: str, stem: str = "000001", folder: str = "training") -> Path:
    write_image(root / folder / "image_2" / f"{stem}.png")
    (root / folder / "label_2").mkdir(exist_ok=True)
    (root / folder / "label_2" / f"{stem}.txt").write_text(labels)
    return root


def test_boxes_count_from_0(tmp_path: Path) -> None:
    (record,), problems = read(READER, write(tmp_path, line() + line("Misc") + "\n" + line()[:-1] + " 0.9\n"))
    assert problems == [] and [region.category for region in record.regions] == ["Car", "Misc", "Car"]
    assert record.regions[0].box_xyxy == (4, 5, 20, 15) and record.unmarked == ()


def test_dont_care_is_no_object_and_leaves_no_category_absent(tmp_path: Path) -> None:
    write(tmp_path, line("Van"), "000002")
    care = line() + "DontCare -1 -1 -10 2.00 2.00 9.00 9.00 -1 -1 -1 -1000 -1000 -1000 -10\n"
    records, problems = read(READER, write(tmp_path, care))
    own = {record.image_id[-6:]: record for record in records}
    assert problems == [] and len(own["000001"].regions) == 1
    assert own["000001"].unmarked == ("Car", "Van") and own["000002"].unmarked == ()


def test_pictures_without_labels_are_no_records(tmp_path: Path) -> None:
    write_image(tmp_path / "testing" / "image_2" / "000001.png")
    write_image(tmp_path / "training" / "image_2" / "000009.png")
    assert len(read(READER, write(tmp_path, ""))[0]) == 1


def test_lists_and_folders_divide(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        write(tmp_path / "lists", line(), f"00000{number}")
        write(tmp_path / "folders", line(), folder=split)
        (tmp_path / "lists" / "ImageSets").mkdir(exist_ok=True)
        (tmp_path / "lists" / "ImageSets" / f"{split}.txt").write_text(f"00000{number}\n")
    for root in (tmp_path / "lists", tmp_path / "folders"):
        assert [record.split for record in read(READER, root)[0]] == ["train", "val", "test"]


@pytest.mark.parametrize("bad", ["Car 0.00 1 1.99 4.00\n", line(box="a 5 20 15")])
def test_a_bad_line_is_a_problem(tmp_path: Path, bad: str) -> None:
    (record,), (problem,) = read(READER, write(tmp_path, line() + bad))
    assert "line 2: " in problem and "columns: expected a category" in problem and len(record.regions) == 1
    assert record.unmarked == ("Car",)


@given(st.text(st.characters(blacklist_categories=("Cs",)), max_size=40))
def test_no_other_line_is_taken_for_one(text: str) -> None:
    assert not _is_kitti(f"x {text}") or len(text.split()) in (14, 15)


def test_the_folder_is_recognised(tmp_path: Path) -> None:
    recipe, folder = find_recipe("auto", write(tmp_path, line()), PROJECT)
    assert (recipe.title, folder) == ("KITTI", tmp_path)


def test_a_category_may_be_several_words(tmp_path: Path) -> None:
    (record,), problems = read(READER, write(tmp_path, line("Person sitting") + line("red car")[:-1] + " 0.9\n"))
    assert problems == [] and [region.category for region in record.regions] == ["Person sitting", "red car"]
    assert {region.box_xyxy for region in record.regions} == {(4, 5, 20, 15)}
