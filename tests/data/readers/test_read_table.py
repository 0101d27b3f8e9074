"""Tables: all formats of a box, categories and splits in columns, images without objects, bad rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from reading import opened, read, write_image

from vilam.errors import VilamError

PLAIN: dict[str, Any] = {
    "kind": "table",
    "files": {"train": "train.csv"},
    "columns": {"image": "file", "box": ["a", "b", "c", "d"], "category": "what"},
    "images": "images/{image}",
}


def write(root: Path, text: str, name: str = "train.csv") -> Path:
    """A table, and the images a.png and b.png of 40 x 30."""
    (root / name).write_text(text)
    for each in ("a", "b"):
        write_image(root / "images" / f"{each}.png")
    return root


def test_rows_of_an_image_are_one_record(tmp_path: Path) -> None:
    root = write(tmp_path, "file,a,b,c,d,what\na.png,1,2,3,4,cell\nb.png,5,6,7,8,bead\na.png,9,10,11,12,bead\n")
    records, problems = read(PLAIN, root)
    assert problems == [] and [record.image_id for record in records] == ["a", "b"]
    assert [(r.region_id, r.box_xyxy, r.category) for r in records[0].regions] == [
        ("a_0", (1, 2, 3, 4), "cell"),
        ("a_1", (9, 10, 11, 12), "bead"),
    ]
    source = opened(PLAIN, root)
    assert (source.categories, source.splits, source.num_images, source.licences) == (
        ("bead", "cell"),
        ("train",),
        2,
        ("CC0",),
    )


@pytest.mark.parametrize(
    ("box", "unit", "numbers"),
    [
        ("xyxy", "pixels", "10,6,30,21"),
        ("xywh", "pixels", "10,6,20,15"),
        ("cxcywh", "pixels", "20,13.5,20,15"),
        ("xyxy", "fractions", "0.25,0.2,0.75,0.7"),
        ("xywh", "fractions", "0.25,0.2,0.5,0.5"),
        ("cxcywh", "fractions", "0.5,0.45,0.5,0.5"),
    ],
)
def test_a_box_is_the_same_in_every_format(tmp_path: Path, box: str, unit: str, numbers: str) -> None:
    root = write(tmp_path, f"file,a,b,c,d,what\na.png,{numbers},cell\n")
    region = read({**PLAIN, "box": box, "unit": unit}, root)[0][0].regions[0]
    assert region.box_xyxy == pytest.approx((10, 6, 30, 21))


@pytest.mark.parametrize("text", ['"10, 6, 30, 21"', "[10 6 30 21]", '"(10.0,6.0,3e1,21)"'])
def test_a_column_may_hold_four_numbers(tmp_path: Path, text: str) -> None:
    columns = {"image": "file", "box": ["box"], "category": "what"}
    root = write(tmp_path, f"file,box,what\na.png,{text},cell\n")
    assert read({**PLAIN, "columns": columns}, root)[0][0].regions[0].box_xyxy == (10, 6, 30, 21)


def test_an_image_without_a_box_has_no_objects(tmp_path: Path) -> None:
    root = write(tmp_path, "file,a,b,c,d,what\na.png,,,,,cell\nb.png,1,2,3,4,cell\n")
    records, problems = read(PLAIN, root)
    assert problems == [] and [len(record.regions) for record in records] == [0, 1]


def test_categories_are_renamed_by_the_value_of_the_column(tmp_path: Path) -> None:
    root = write(tmp_path, "file,a,b,c,d,what\na.png,1,2,3,4,1\na.png,1,2,3,9,0\nb.png,1,2,3,4,0\n")
    records, problems = read({**PLAIN, "categories": {"1": "opacity"}}, root)
    assert problems == [] and [[r.category for r in record.regions] for record in records] == [["opacity"], []]


def test_all_objects_can_have_one_category(tmp_path: Path) -> None:
    columns = {"image": "file", "box": ["a", "b", "c", "d"]}
    root = write(tmp_path, "file,a,b,c,d\na.png,1,2,3,4\n")
    assert opened({**PLAIN, "columns": columns, "category": "lesion"}, root).categories == ("lesion",)


def test_expressions_of_one_box_belong_to_one_region(tmp_path: Path) -> None:
    columns = {**PLAIN["columns"], "expression": "words"}
    rows = 'a.png,1,2,3,4,cell,"the  left [one]"\na.png,1,2,3,4,cell,the small one\na.png,5,2,9,4,cell,the other\n'
    root = write(tmp_path, f"file,a,b,c,d,what,words\n{rows}")
    first, second = read({**PLAIN, "columns": columns}, root)[0][0].regions
    assert [each.text for each in first.expressions] == ["the left (one)", "the small one"]
    assert [each.text for each in second.expressions] == ["the other"]


def test_splits_are_read_from_a_column(tmp_path: Path) -> None:
    columns = {**PLAIN["columns"], "split": "part"}
    reader = {**PLAIN, "columns": columns, "split_names": {"1": "train", "3": "test"}}
    rows = "a.png,1,2,3,4,cell,3\nb.png,1,2,3,4,cell,1\nb.png,1,2,3,4,cell,9\n"
    root = write(tmp_path, f"file,a,b,c,d,what,part\n{rows}")
    records, problems = read(reader, root)
    assert [(record.image_id, record.split) for record in records] == [("b", "train"), ("a", "test")]
    assert problems == ["train.csv: line 4: unknown split '9'"]


def test_undivided_images_are_split_by_a_hash_of_their_name(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(100)]
    for name in names:
        write_image(tmp_path / "images" / name, (8, 8))
    root = write(tmp_path, "file,a,b,c,d,what\n" + "".join(f"{name},1,2,3,4,cell\n" for name in names))
    reader = {**PLAIN, "files": {"all": "train.csv"}}
    splits = [record.split for record in read(reader, root)[0]]
    assert splits == sorted(splits, key=("train", "val", "test").index)
    assert 65 < splits.count("train") < 95 and splits.count("val") > 2 and splits.count("test") > 2


def test_val_is_a_tenth_of_train_and_val(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(100)]
    for name in names:
        write_image(tmp_path / "images" / name, (8, 8))
    root = write(tmp_path, "file,a,b,c,d,what\n" + "".join(f"{name},1,2,3,4,cell\n" for name in names))
    splits = [record.split for record in read({**PLAIN, "files": {"train+val": "train.csv"}}, root)[0]]
    assert splits == sorted(splits) and 80 < splits.count("train") < 98 and set(splits) == {"train", "val"}


def test_separator_and_wildcards_are_used(tmp_path: Path) -> None:
    root = write(tmp_path, "file\ta\tb\tc\td\twhat\na\t1\t2\t3\t4\tcell\n", "train.tsv")
    reader = {**PLAIN, "files": {"train": "train.tsv"}, "separator": "\t", "images": "images/{image}.*"}
    assert read(reader, root)[0][0].image_id == "a"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,1,2,3,,cell", "line 3: box '1 2 3 ': not four numbers"),
        ("none.png,1,2,3,4,cell", "line 3: image none.png: no file images/none.png"),
        (",1,2,3,4,cell", "line 3: no image is named"),
        ("a.png,x,y,z,w,cell", "line 3: box 'x y z w': not four numbers"),
    ],
)
def test_a_bad_row_is_a_problem(tmp_path: Path, row: str, message: str) -> None:
    records, (problem,) = read(PLAIN, write(tmp_path, f"file,a,b,c,d,what\na.png,1,2,3,4,cell\n{row}\n"))
    assert len(records[0].regions) == 1 and problem == f"train.csv: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,a,b,c,what\n", "train.csv: no column d: it has file, a, b, c, what"),
        ("", "not readable as a table"),
        ("file,a,b,c,d,what\n", "no rows in train.csv"),
        (None, "train.csv: not found"),
    ],
)
def test_a_broken_table_is_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        write(tmp_path, text)
    with pytest.raises(VilamError, match=message) as error:
        opened(PLAIN, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"category": "cell"},
        {"columns": {"image": "file", "box": ["a", "b"], "category": "what"}},
        {"columns": {"image": "file", "box": ["a"]}},
    ],
)
def test_contradictory_recipes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"set one of category|name four columns"):
        opened({**PLAIN, **changes}, Path())


EXPRESSIONS = {**PLAIN, "columns": {**PLAIN["columns"], "expression": "words"}}


@pytest.mark.parametrize("order", [("the left one", "", "the small one"), ("", "the left one", "the small one")])
def test_a_row_without_expression_keeps_those_of_the_same_box(tmp_path: Path, order: tuple[str, ...]) -> None:
    rows = "".join(f"a.png,1,2,3,4,cell,{words}\n" for words in (*order, ""))
    (record,), problems = read(EXPRESSIONS, write(tmp_path, f"file,a,b,c,d,what,words\n{rows}"))
    (region,) = record.regions
    assert problems == [] and [each.text for each in region.expressions] == ["the left one", "the small one"]


def test_images_of_one_name_in_two_folders_have_regions_of_their_own(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        write_image(tmp_path / "images" / folder / "1.png")
    (tmp_path / "train.csv").write_text("file,a,b,c,d,what\nx/1.png,1,2,3,4,cell\ny/1.png,1,2,3,4,cell\n")
    records, _ = read(PLAIN, tmp_path)
    assert [region.region_id for record in records for region in record.regions] == ["x/1_0", "y/1_0"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": "scans/x.png"}, "expected a path with {image}"),
        ({"images": "scans/{stem}.png"}, "{stem}: only {image} can be filled in"),
        ({"images": "scans/{image"}, "expected '}' before end of string"),
        ({"rename": ["(", "x"]}, "not a pattern and its replacement"),
        ({"rename": ["w", "\\9"]}, "not a pattern and its replacement"),
    ],
)
def test_patterns_that_cannot_be_filled_in_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        opened(PLAIN | changes, tmp_path)


@pytest.mark.parametrize("images", ["{image}", "/{image}"])
def test_a_column_may_hold_absolute_paths(tmp_path: Path, images: str) -> None:
    root = write(tmp_path, "file,a,b,c,d,what\n")
    name = str(root / "images" / "a.png").removeprefix("/" if images.startswith("/") else "")
    root = write(tmp_path, f"file,a,b,c,d,what\n{name},1,2,3,4,cell\n")
    (record,), problems = read(PLAIN | {"images": images}, root)
    assert problems == [] and (record.width, record.height) == (40, 30)


def test_names_with_dots_and_equal_names_in_folders_are_several_images(tmp_path: Path) -> None:
    names = ["1.2.840.30.211", "1.2.840.30.338", "1.2.840.48", "p1/001.png", "p2/001.png", "p2/001.jpg"]
    for name in names:
        write_image(tmp_path / (name if name.startswith("p") else f"{name}.png"))
    text = "file,a,b,c,d,what\n" + "".join(f"{name},1,2,3,4,cell\n" for name in names)
    (tmp_path / "train.csv").write_text(text)
    records, problems = read({**PLAIN, "images": "{image}*"}, tmp_path)
    assert problems == [] and {record.image_id for record in records} == {*names[:3], "p1/001", *names[4:]}
    assert all(len(record.regions) == 1 for record in records)


def test_a_row_without_words_leaves_those_of_the_same_box(tmp_path: Path) -> None:
    columns = {**PLAIN["columns"], "expression": "text"}
    rows = ("a.png,1,2,3,4,cell,the small one", "a.png,1,2,3,4,cell,", "b.png,1,2,3,4,cell,", "b.png,1,2,3,4,cell,it")
    root = write(tmp_path, "\n".join(("file,a,b,c,d,what,text", *rows, "")))
    records, _ = read({**PLAIN, "columns": columns}, root)
    words = [[each.text for each in region.expressions] for record in records for region in record.regions]
    assert words == [["the small one"], ["it"]]


def test_a_small_set_that_nobody_has_divided_has_all_splits(tmp_path: Path) -> None:
    text = "file,a,b,c,d,what\n" + "".join(f"{name}.png,1,2,3,4,cell\n" for name in "abc")
    (tmp_path / "train.csv").write_text(text)
    for name in "abc":
        write_image(tmp_path / "images" / f"{name}.png")
    assert opened({**PLAIN, "files": {"all": "train.csv"}}, tmp_path).splits == ("train", "val", "test")
