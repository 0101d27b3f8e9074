"""YOLO: boxes and polygons in fractions, folders and lists of images, missing splits, bad lines."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from reading import opened, read, recipe, write_image

from vilam.data.readers import RawRecord, open_files
from vilam.data.readers.formats import CLEAR, POSSIBLE
from vilam.data.readers.yolo import recognises
from vilam.errors import VilamError

YOLO = {"kind": "yolo"}


def write(root: Path, data: dict[str, object], **labels: str) -> Path:
    """A data set with an image for each of the labels, by ``split_name``."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "data.yaml").write_text(yaml.safe_dump({"names": ["cell", "bead"], **data}))
    for name, content in labels.items():
        split = name.partition("_")[0]
        write_image(root / "images" / split / f"{name}.png")
        (root / "labels" / split).mkdir(parents=True, exist_ok=True)
        (root / "labels" / split / f"{name}.txt").write_text(content)
    return root


FOLDERS: dict[str, object] = {split: f"images/{split}" for split in ("train", "val", "test")}


def test_boxes_are_fractions_of_the_sides(tmp_path: Path) -> None:
    root = write(tmp_path, FOLDERS, train_a="0 0.5 0.5 0.25 0.2\n1 0.1 0.1 0.2 0.2\n\n", val_a="", test_a="")
    (record, *others), problems = read(YOLO, root)
    assert problems == [] and [each.split for each in others] == ["val", "test"]
    assert (record.image_id, record.width, record.height) == ("images/train/train_a", 40, 30)
    assert [region.category for region in record.regions] == ["cell", "bead"]
    assert record.regions[0].box_xyxy == pytest.approx((15, 12, 25, 18))
    assert all(not each.regions for each in others)


@given(st.tuples(*[st.floats(0, 0.5)] * 2), st.tuples(*[st.floats(0.01, 0.5)] * 2))
def test_any_box_is_read(corner: tuple[float, float], size: tuple[float, float]) -> None:
    from vilam.data.readers.yolo import _Data, _shape

    (x, y), (w, h) = corner, size
    shape = _shape(f"0 {x + w / 2} {y + h / 2} {w} {h}", _Data({0: "cell"}, ()), "line 1")
    assert shape.box_xyxy == pytest.approx((x, y, x + w, y + h), abs=1e-9)


def test_a_polygon_has_the_box_around_it(tmp_path: Path) -> None:
    root = write(tmp_path, FOLDERS, train_a="0 0.25 0.1 0.75 0.1 0.5 0.9", val_a="", test_a="")
    region = read(YOLO, root)[0][0].regions[0]
    assert region.polygons == (((10.0, 3.0), (30.0, 3.0), (20.0, 27.0)),)
    assert region.box_xyxy == (10.0, 3.0, 30.0, 27.0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7 0.5 0.5 0.1 0.1", "unknown class 7"),
        ("0 0.5 0.5 0.1", "3 numbers: neither a box (4) nor a polygon"),
        ("0 0.1 0.1 0.2 0.2 0.3", "5 numbers: neither"),
        ("0 a b c d", "could not convert string to float"),
        ("cell 0.5 0.5 0.1 0.1", "class 'cell' is no number"),
        ("0.5 0.5 0.5 0.1 0.1", "unknown class 0.5: 2 classes have names, up to 1"),
    ],
)
def test_a_bad_line_is_a_problem(tmp_path: Path, line: str, message: str) -> None:
    good = "0 0.5 0.5 0.1 0.1\n"
    records, (problem,) = read(YOLO, write(tmp_path, FOLDERS, train_a=good + line, val_a="", test_a=""))
    assert len(records[0].regions) == 1
    assert problem.startswith("images/train/train_a.png, line 2 of its labels: ") and message in problem


def test_classes_that_are_counted_from_1_are_refused(tmp_path: Path) -> None:
    line = "{} 0.5 0.5 0.1 0.1\n"
    root = write(tmp_path, FOLDERS, train_a=line.format(1), val_a=line.format(2), test_a="")
    with pytest.raises(VilamError, match="classes are counted from 1: no label is of class 0, and class 2 has no name"):
        opened(YOLO, root)
    (root / "labels" / "test" / "test_a.txt").write_text(line.format(0))
    assert len(list(opened(YOLO, root).rows)) == 4, "a single unknown class is a problem of its line"


def test_names_by_number_and_listed_images_are_read(tmp_path: Path) -> None:
    data = {"names": {3: "cell"}, "train": "train.txt", "val": ["images/val"], "test": "images/test"}
    root = write(tmp_path, data, train_a="3 0.5 0.5 0.1 0.1", train_b="", val_a="", test_a="")
    (root / "train.txt").write_text("./images/train/train_a.png\n")
    records, problems = read(YOLO, root)
    assert problems == [] and [record.image_id for record in records] == [
        "images/train/train_a",
        "images/val/val_a",
        "images/test/test_a",
    ]
    assert records[0].regions[0].category == "cell"


def test_a_path_of_another_machine_falls_back_to_the_root(tmp_path: Path) -> None:
    root = write(tmp_path, {**FOLDERS, "path": "/home/somebody/datasets/cells"}, train_a="", val_a="", test_a="")
    assert len(read(YOLO, root)[0]) == 3


def test_without_a_test_split_val_becomes_test(tmp_path: Path) -> None:
    data: dict[str, object] = {"train": "images/train", "val": "images/val"}
    root = write(tmp_path, data, **{f"train_{i}": "" for i in range(60)}, val_a="")
    splits = [record.split for record in read(YOLO, root)[0]]
    assert splits.count("test") == 1 and 0 < splits.count("val") < 20 and splits.count("train") > 40
    assert opened(YOLO, root).splits == ("train", "val", "test")


def test_a_broken_image_is_a_problem(tmp_path: Path) -> None:
    root = write(tmp_path, FOLDERS, train_a="", val_a="", test_a="")
    (root / "images" / "train" / "broken.png").write_bytes(b"nothing")
    records, (problem,) = read(YOLO, root)
    assert len(records) == 3 and problem.startswith("images/train/broken.png: cannot be read")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"names": "cell"}, "names is no list of the classes"),
        ({"names": {"a": "cell"}}, "expected names as a list, or by number"),
        ({"train": "elsewhere", "val": "images/val", "test": None}, "train, val and test lead to no images"),
        (None, "names the classes"),
    ],
)
def test_a_broken_data_set_is_one_line(tmp_path: Path, data: dict[str, object] | None, message: str) -> None:
    if data is not None:
        write(tmp_path, data)
    with pytest.raises(VilamError, match=message) as error:
        opened(YOLO, tmp_path)
    assert "\n" not in str(error.value)


def test_a_listed_image_may_have_a_space_in_its_path(tmp_path: Path) -> None:
    root = write(tmp_path, {"train": "train.txt", "val": "images/val", "test": "images/test"}, val_a="", test_a="")
    write_image(root / "images" / "train" / "a b.png")
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels" / "train" / "a b.txt").write_text("")
    (root / "train.txt").write_text("images/train/a b.png\n\n")
    records, problems = read(YOLO, root)
    assert problems == [] and "images/train/a b" in [record.image_id for record in records]


def test_labels_without_an_image_are_told(tmp_path: Path) -> None:
    root = write(tmp_path, FOLDERS, train_a="0 0.5 0.5 0.1 0.1", val_a="", test_a="")
    for name, content in (("lost", "0 0.5 0.5 0.1 0.1"), ("empty", ""), ("classes", "cell")):
        (root / "labels" / "train" / f"{name}.txt").write_text(content)
    records, problems = read(YOLO, root)
    assert len(records) == 3 and problems == ["labels/train/lost.txt: its image is not found"]


def test_a_split_without_labels_is_left_out(tmp_path: Path) -> None:
    root = write(tmp_path, FOLDERS, train_a="0 0.5 0.5 0.1 0.1", train_b="0 0.5 0.5 0.1 0.1", val_a="", test_a="")
    (root / "labels" / "test" / "test_a.txt").unlink()
    records, (problem,) = read(YOLO, root)
    assert {record.image_id.rpartition("/")[2] for record in records} == {"train_a", "train_b", "val_a"}
    assert problem == "labels/test: none of the 1 images of test has labels"


def test_one_folder_as_train_and_val_is_divided(tmp_path: Path) -> None:
    labels = {f"train_{number}": "0 0.5 0.5 0.1 0.1" for number in range(6)}
    records, problems = read(YOLO, write(tmp_path, {"train": "images/train", "val": "images/train"}, **labels))
    assert problems == [] and sorted(record.image_id for record in records) == [f"images/train/{one}" for one in labels]
    assert {record.split for record in records} == {"train", "val", "test"}


def test_classes_in_the_folder_of_labels_and_splits_as_folders(tmp_path: Path) -> None:
    root = write(tmp_path, FOLDERS, train_a="0 0.5 0.5 0.1 0.1", val_a="1 0.5 0.5 0.1 0.1", test_a="")
    (root / "data.yaml").unlink()
    (root / "labels" / "classes.txt").write_text("cell\nbead\n")
    found = recognises(root)
    assert found is not None and found.root == root
    source = open_files(recipe(found.reader.model_dump()), root)
    records = [row.record for row in source.rows if isinstance(row, RawRecord)]
    assert [(record.split, len(record.regions)) for record in records] == [("train", 1), ("val", 1), ("test", 0)]


def test_settings_of_a_training_are_no_clear_data_set(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("train: {epochs: 3}\nnames: [a, b]\n")
    found = recognises(tmp_path)
    assert found is not None and found.sureness == POSSIBLE
    root = write(tmp_path / "set", FOLDERS, train_a="0 0.5 0.5 0.1 0.1")
    (root / "a.yaml").write_text("train: {epochs: 3}\nnames: [a, b]\n")
    found = recognises(root)
    assert found is not None and (found.reader.model_dump()["data"], found.sureness) == ("data.yaml", CLEAR)


def test_labels_without_names_are_known_and_refused(tmp_path: Path) -> None:
    root = write(tmp_path, FOLDERS, train_a="0 0.5 0.5 0.1 0.1")
    (root / "data.yaml").unlink()
    assert recognises(root) is not None
    with pytest.raises(VilamError, match=r"names the classes: check prepare.root, or write a classes\.txt"):
        opened(YOLO, root)


def test_files_of_windows_are_read(tmp_path: Path) -> None:
    root = write(tmp_path, FOLDERS, train_a="0 0.5 0.5 0.1 0.1\r\n", val_a="", test_a="")
    path = root / "labels" / "train" / "train_a.txt"
    path.write_bytes(path.read_text().encode("utf-16"))
    records, problems = read(YOLO, root)
    assert problems == [] and len(records[0].regions) == 1


NAMES = {
    "Roboflow's Darknet": ("{split}", "{split}", "train/_darknet.labels"),
    "Darknet": ("images/{split}", "labels/{split}", "coco.names"),
    "the list of labelImg": ("{split}", "{split}", "train/predefined_classes.txt"),
    "labelImg beside the labels": ("images/{split}", "labels/{split}", "labels/train/classes.txt"),
    "supervision": ("{split}/images", "{split}/labels", "data.yaml"),
    "supervision, a file for each split": ("{split}/images", "{split}/labels", "train/data.yaml"),
    "capitals": ("Images/{split}", "Labels/{split}", "classes.txt"),
}


@pytest.mark.parametrize("way", NAMES)
def test_names_alone_are_found_where_tools_write_them(tmp_path: Path, way: str) -> None:
    images, labels, file = NAMES[way]
    for split in ("train", "valid", "test"):
        write_image(tmp_path / images.format(split=split) / f"{split}.png")
        text = tmp_path / labels.format(split=split) / f"{split}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("1 0.5 0.5 0.25 0.2\n")
    names = "names: [cell, bead]\nnc: 2\n" if file.endswith(".yaml") else "cell\nbead\n"
    (tmp_path / file).write_text(names)
    found = recognises(tmp_path)
    assert found is not None and found.root == tmp_path
    records, problems = read({"kind": "yolo", "data": found.reader.data}, tmp_path)  # type: ignore[union-attr]
    assert problems == [] and [record.split for record in records] == ["train", "val", "test"]
    assert {(region.category, region.box_xyxy) for record in records for region in record.regions} == {
        ("bead", (15.0, 12.0, 25.0, 18.0))
    }


def test_folders_that_name_the_classes_in_another_order_are_refused(tmp_path: Path) -> None:
    for split, names in {"train": "cell\nbead", "val": "bead\ncell"}.items():
        write_image(tmp_path / split / "a.png")
        (tmp_path / split / "a.txt").write_text("1 0.5 0.5 0.25 0.2\n")
        (tmp_path / split / "classes.txt").write_text(names)
    with pytest.raises(VilamError, match="name other classes, or in another order"):
        opened({"kind": "yolo", "data": "train/classes.txt"}, tmp_path)


def test_a_path_above_the_file_gives_names_below_the_root(tmp_path: Path) -> None:
    root = write(tmp_path / "set", {**FOLDERS, "path": "../set"}, train_a="0 0.5 0.5 0.2 0.2", val_a="", test_a="")
    assert [record.image_id for record in read(YOLO, root)[0]] == [
        "images/train/train_a",
        "images/val/val_a",
        "images/test/test_a",
    ]


def test_repeated_names_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n2 0.2 0.2 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [cat, dog, 'cat ']\n")
    (record,), problems = read({"kind": "yolo"}, tmp_path)
    assert problems == [] and [one.category for one in record.regions] == ["cat", "cat"]
    assert "data.yaml: classes 0, 2 are all named cat: they become one category" in caplog.text


def test_subsets_of_cvat_are_splits_whatever_their_names(tmp_path: Path) -> None:
    names = ("train", "Validation", "Test", "Lot 3")
    for name in names:
        write_image(tmp_path / "images" / name / f"{name}.png")
        (tmp_path / "labels" / name).mkdir(parents=True)
        (tmp_path / "labels" / name / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
        (tmp_path / f"{name}.txt").write_text(f"data/images/{name}/{name}.png\n")
    lists = "".join(f"{name}: {name}.txt\n" for name in names)
    (tmp_path / "data.yaml").write_text(f"{lists}path: .\nnames: {{0: cell}}\n")
    records, problems = read(YOLO, tmp_path)
    assert problems == [] and [record.split for record in records] == ["train", "val", "test", "Lot_3"]


def test_a_confidence_behind_a_box_is_left_out(tmp_path: Path) -> None:
    (record, *_), problems = read(
        YOLO, write(tmp_path, FOLDERS, train_a="0 0.5 0.5 0.25 0.2 0.87", val_a="", test_a="")
    )
    assert problems == [] and record.regions[0].box_xyxy == pytest.approx((15, 12, 25, 18))


@pytest.mark.parametrize("folders", [("Train", "Valid", "Test"), ("training", "validation", "testing")])
def test_a_split_that_leads_nowhere_is_read_from_the_folders_of_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, folders: tuple[str, ...]
) -> None:
    write(tmp_path, {"train": "../train/images", "val": "../valid/images", "test": "../test/images"})
    for number, folder in enumerate(folders):
        write_image(tmp_path / folder / "images" / "a.png", colour=number)
        (tmp_path / folder / "labels").mkdir()
        (tmp_path / folder / "labels" / "a.txt").write_text("0 0.5 0.5 0.25 0.2")
    found = recognises(tmp_path)
    records, problems = read(YOLO, tmp_path)
    assert found is not None and found.sureness == CLEAR and problems == []
    expected = [(split, 1) for split in ("train", "val", "test")]
    assert [(record.split, len(record.regions)) for record in records] == expected
    assert "val: ../valid/images leads to no images: 1 images are in folders of its name" in caplog.text


def test_a_split_that_lies_nowhere_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data: dict[str, object] = {"train": "images/train", "val": "images/val", "test": "../test/images"}
    records, _ = read(YOLO, write(tmp_path, data, train_a="", val_a="0 0.5 0.5 0.1 0.1"))
    assert len(records) == 2
    assert "test: ../test/images leads to no images: the split is left out" in caplog.text
    assert "train: images" not in caplog.text


@pytest.mark.parametrize(("count", "is_told"), [(2, False), (3, True)])
def test_another_number_of_classes_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int, is_told: bool
) -> None:
    read(YOLO, write(tmp_path, {**FOLDERS, "nc": count}, train_a="", val_a="", test_a=""))
    assert ("nc is 3, but 2 classes have names" in caplog.text) == is_told
