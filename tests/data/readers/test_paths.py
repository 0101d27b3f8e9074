"""Pictures by the names of annotations, and text files of any encoding."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
import samples
from reading import read, write_image

from vilam.data.readers import find_recipe, open_files
from vilam.data.readers.paths import Pictures
from vilam.data.readers.source import RawRecord
from vilam.errors import VilamError

TEXTS = {**samples.WITH_CATEGORIES, **samples.WITH_WORDS}
del TEXTS["parquet_objects"]
RENAMED = TEXTS.keys() - {"yolo", "kitti", "supervisely", "openimages"}
"""Formats whose files name pictures."""
CAFE = "caf\u00e9.png"


@pytest.mark.parametrize(
    ("told", "there"),
    [
        ("a.png", "a.JPG"),
        ("a.png", "A.jpg"),
        ("A.PNG", "a.png"),
        (CAFE, unicodedata.normalize("NFD", CAFE)),
        (unicodedata.normalize("NFD", CAFE), CAFE),
        ("my%20cat.png", "my cat.png"),
        ("my cat.png", "my%20cat.png"),
        ("train/a.png", "train/a.jpg"),
    ],
)
def test_a_picture_of_another_spelling_or_suffix(tmp_path: Path, told: str, there: str) -> None:
    path = write_image(tmp_path / "images" / there)
    pictures = Pictures(tmp_path)
    assert pictures.find(told, [tmp_path]) == path
    assert pictures.renamed == ({} if "%" in told else {told: path})  # an address is decoded


def test_the_same_name_comes_before_one_alike(tmp_path: Path) -> None:
    for name in ("b/a.png", "b/A.png", "b/a.jpg"):
        write_image(tmp_path / name)
    pictures = Pictures(tmp_path)
    assert pictures.find("a.png", [tmp_path]) == tmp_path / "b" / "a.png"
    assert pictures.first(["x.png", "a.png"], [tmp_path]) == tmp_path / "b" / "a.png"
    assert pictures.renamed == {}


def test_of_several_alike_none_is_taken_but_that_in_the_folder_that_is_named(tmp_path: Path) -> None:
    for name in ("train/a.jpg", "test/a.jpg"):
        write_image(tmp_path / name)
    assert Pictures(tmp_path).find("a.png", [tmp_path]) is None
    assert Pictures(tmp_path).find("a.png", [tmp_path], "train".__eq__) == tmp_path / "test" / "a.jpg"
    assert Pictures(tmp_path).find("a.png", [tmp_path / "test"]) == tmp_path / "test" / "a.jpg"
    assert Pictures(tmp_path).find("/home/me/train/a.png", [tmp_path]) == tmp_path / "train" / "a.jpg"


def test_a_name_without_suffix_is_no_other_name(tmp_path: Path) -> None:
    path = write_image(tmp_path / "7.jpg")
    pictures = Pictures(tmp_path)
    assert pictures.find("7", [tmp_path]) == path and pictures.renamed == {}


@pytest.mark.parametrize("name", sorted(RENAMED))
def test_every_reader_says_it_once(name: str, tmp_path: Path, project: Path, caplog: pytest.LogCaptureFixture) -> None:
    TEXTS[name](tmp_path)
    pictures = sorted(tmp_path.rglob("*.png"))
    for path in pictures:
        path.rename(path.with_suffix(".PNG"))
    source = open_files(*find_recipe("auto", tmp_path, project))
    assert all(isinstance(row, RawRecord) for row in source.rows)
    (line,) = [text for text in caplog.messages if "another name" in text]
    assert f": {source.num_images} pictures have another name" in line and ".PNG is read for" in line


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig", "utf-32"])
@pytest.mark.parametrize("name", sorted(TEXTS))
def test_text_files_with_a_mark(name: str, encoding: str, tmp_path: Path, project: Path) -> None:
    for folder in ("plain", "marked"):
        (tmp_path / folder).mkdir()
        TEXTS[name](tmp_path / folder)
    for path in (tmp_path / "marked").rglob("*"):
        if path.is_file() and path.suffix != ".png":
            mark = "\ufeff" if encoding == "utf-16-be" else ""
            own = "utf-16" if path.suffix == ".xml" and encoding == "utf-32" else encoding  # expat reads no UTF-32
            path.write_bytes((mark + path.read_text()).encode(own))
    found = []
    for folder in ("plain", "marked"):
        rows = list(open_files(*find_recipe("auto", tmp_path / folder, project)).rows)
        assert all(isinstance(row, RawRecord) for row in rows), rows
        found.append([row.record for row in rows if isinstance(row, RawRecord)])
    assert found[0] == found[1] and found[0]


def test_json_of_another_encoding_is_one_line(tmp_path: Path) -> None:
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "\u00e9"}]}
    (tmp_path / "instances.json").write_bytes(json.dumps(content, ensure_ascii=False).encode("latin-1"))
    with pytest.raises(VilamError, match=r"instances\.json: byte \d+ is not UTF-8: save the file in UTF-8"):
        read({"kind": "coco"}, tmp_path)
