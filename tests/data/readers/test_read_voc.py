"""Pascal VOC: boxes, splits and bad files, and the real cells if VILAM_TEST_DATA has them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from reading import opened

from vilam.data.readers.source import Problem, RawRecord
from vilam.errors import VilamError

OBJECT = (
    "<object><name>cell</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
SIZE = "<size><width>40</width><height>30</height></size>"


def _folder(root: Path, **files: str) -> Path:
    """A VOC folder with an image for each file, all of them in train; val and test hold one good image each."""
    files |= {"good_val": OBJECT.format(1, 1, 9, 9), "good_test": OBJECT.format(1, 1, 9, 9)}
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for stem, content in files.items():
        (root / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{SIZE}{content}</annotation>")
        Image.new("RGB", (40, 30)).save(root / "JPEGImages" / f"{stem}.jpg")
    for split in ("train", "val", "test"):
        stems = [stem for stem in files if stem.partition("_")[2] == split] or [
            stem for stem in files if "_" not in stem
        ]
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(stems) + "\n\n")
    return root


def _rows(root: Path) -> tuple[list[RawRecord], list[Problem]]:
    rows = list(opened("voc", root).rows)
    return [row for row in rows if isinstance(row, RawRecord)], [row for row in rows if isinstance(row, Problem)]


def test_boxes_count_from_one_and_include_their_last_pixel(tmp_path: Path) -> None:
    records, problems = _rows(_folder(tmp_path, a=OBJECT.format(1, 2, 40, 30)))
    assert problems == []
    assert records[0].record.regions[0].box_xyxy == (0, 1, 40, 30)
    assert [row.record.split for row in records] == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OBJECT.format(5, 5, 5, 5), "box of no area: 5 5 5 5"),
        (OBJECT.format("x", 5, 7, 9), "could not convert"),
        ("<object><name>cell</name></object>", "no bndbox/xmin"),
        ("<object/>", ""),
    ],
)
def test_a_bad_object_is_a_problem(tmp_path: Path, content: str, message: str) -> None:
    records, (problem,) = _rows(_folder(tmp_path, a=OBJECT.format(1, 1, 9, 9) + content))
    assert len(records[0].record.regions) == 1
    assert problem.location.endswith("a.xml: object 2")
    assert message in problem.message


def test_missing_and_broken_files_are_problems(tmp_path: Path) -> None:
    root = _folder(tmp_path, a="", b="", c="")
    (root / "JPEGImages" / "a.jpg").unlink()
    (root / "Annotations" / "b.xml").unlink()
    (root / "Annotations" / "c.xml").write_text("<annotation>")
    records, problems = _rows(root)
    assert len(records) == 2
    assert ["a.xml" in problems[0].location, "b.xml" in problems[1].location, "c.xml" in problems[2].location] == [
        True
    ] * 3
    assert "its image a is not in JPEGImages" in problems[0].message


def test_without_image_sets_a_hash_decides_the_split(tmp_path: Path) -> None:
    root = _folder(tmp_path, **{f"image{number}": "" for number in range(60)})
    for path in (root / "ImageSets" / "Main").iterdir():
        path.unlink()
    splits = Counter(row.record.split for row in _rows(root)[0])
    assert set(splits) == {"train", "val", "test"} and splits["train"] > 35


def test_a_folder_without_voc_is_reported(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match="no Annotations and JPEGImages"):
        opened("voc", tmp_path)


def test_real_cells_are_read_except_two_boxes_of_no_area(real_data: Path) -> None:
    source = opened("voc", real_data / "bccd")
    assert source.categories == ("Platelets", "RBC", "WBC")
    assert source.licences == ("MIT License",)
    records, problems = _rows(real_data / "bccd")
    assert Counter(row.record.split for row in records) == {"train": 205, "val": 87, "test": 72}
    assert sum(len(row.record.regions) for row in records) == 4155 + 372 + 361 - 2
    assert len(problems) == 2 and all("box of no area" in problem.message for problem in problems)
