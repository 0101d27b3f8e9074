"""All formats together: what is said of them, and that they leave foreign files alone."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import get_args

import pytest
import samples
from reading import write_image

from vilam.data.readers import FORMATS, RawRecord, find_formats, find_recipe, open_files
from vilam.data.readers.formats import Format
from vilam.data.readers.recognition import recipe_of
from vilam.data.recipes import FormatName
from vilam.errors import VilamError

FOREIGN = {
    "empty.json": b"",
    "null.json": b"null",
    "list.json": b"[]",
    "number.json": b"3",
    "deep.json": b"[" * 100_000,
    "broken.json": b'{"images": [',
    "binary.json": bytes(range(256)),
    "text.jsonl": b"hello\n{}\n[]\n",
    "a.xml": b"<note>",
    "entities.xml": b'<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>',
    "data.yaml": b"- 1\n- 2\n",
    "table.csv": b"a,b\n1\n",
    "notes.txt": b"notes\n",
    "table.parquet": b"PAR1",
}


def test_the_table_in_the_docs_is_up_to_date(project: Path) -> None:
    with_table = runpy.run_path(str(project / "scripts" / "formats_table.py"))["with_table"]
    page = (project / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert page == with_table(page), "run scripts/formats_table.py"


def test_every_format_that_needs_no_options_can_be_named_in_a_recipe() -> None:
    of_their_own = {"yolo", "coco", "voc", "refcoco"}
    assert {one.name for one in FORMATS} - of_their_own == {*get_args(FormatName)}


def test_names_are_unique_and_facts_are_told() -> None:
    assert len({one.name for one in FORMATS}) == len(FORMATS)
    for one in FORMATS:
        assert all((one.title, one.layout, one.keeps, one.loses)) and "|" not in one.layout + one.keeps + one.loses


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_foreign_files_are_left_alone(one: Format, tmp_path: Path) -> None:
    for name, content in FOREIGN.items():
        (tmp_path / name).write_bytes(content)
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "empty").mkdir()
    assert one.recognises(tmp_path) is None
    assert one.recognises(tmp_path / "empty") is None
    assert [name for name in FOREIGN if one.recognises(tmp_path / name) is not None] == []


def test_an_unknown_folder_is_one_line(tmp_path: Path, project: Path) -> None:
    write_image(tmp_path / "a.png")
    with pytest.raises(VilamError, match=r"no format that is known: see docs/datasets\.md"):
        find_recipe("auto", tmp_path, project)
    write_image(tmp_path / "masks" / "a.png")
    with pytest.raises(VilamError, match=r"if masks lie in masks, write a recipe of kind masks"):
        find_recipe("auto", tmp_path, project)
    with pytest.raises(VilamError, match="no such folder or file"):
        find_recipe("auto", tmp_path / "none", project)


def test_a_folder_as_an_archive_leaves_it_is_looked_into(tmp_path: Path) -> None:
    samples.yolo(tmp_path / "my set" / "export")
    (tmp_path / "__MACOSX").mkdir()
    chosen, root = find_recipe("auto", tmp_path, tmp_path)
    assert (chosen.name, root) == ("yolo", tmp_path / "my set" / "export")


@pytest.mark.parametrize("part", ["", "one/train/images", "one/train/labels", "sets.zip"])
def test_where_a_data_set_is_near_is_said(part: str, tmp_path: Path) -> None:
    samples.yolo(tmp_path / "one")
    samples.yolo(tmp_path / "other")
    (tmp_path / "sets.zip").write_bytes(b"PK")
    told = "unpack the archive" if part.endswith(".zip") else "YOLO (Ultralytics) is in {}: set prepare.root to that"
    with pytest.raises(VilamError, match=re.escape(told.format(tmp_path / "one"))):
        find_recipe("auto", tmp_path / part, tmp_path)


def test_other_formats_of_a_folder_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples.labelme(tmp_path)
    samples.write_json(tmp_path / "instances.json", samples.coco_content([*samples.PICTURES]))
    with caplog.at_level("INFO", "vilam"):
        assert find_recipe("auto", tmp_path, tmp_path)[0].name == "labelme"
    assert "read as labelme; also COCO: prepare.source: coco" in caplog.text


def test_what_is_packed_is_to_be_unpacked(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "annotations.json.gz").write_bytes(b"")
    with pytest.raises(VilamError, match=r"no format that is known: unpack annotations\.json\.gz"):
        find_formats(tmp_path)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("train/_annotations.createml.json", "CreateML is not read: export it as COCO"),
        ("train/cells.tfrecord", "TFRecord is not read"),
        ("train/data-00000-of-00001.arrow", r"write each split with Dataset\.to_parquet"),
        ("train/labelTxt/a.txt", "convert it to YOLO's oriented boxes"),
        ("labels/a.txt", "no picture lies in it"),
    ],
)
def test_what_is_not_read_is_said(tmp_path: Path, file: str, told: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(VilamError, match=told):
        find_formats(tmp_path)


def test_a_folder_or_file_of_annotations_stands_for_the_set_above(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "annotations").mkdir()
    rows = tmp_path / "annotations" / "rows.jsonl"
    instance = {"bbox": [1, 2, 9, 8], "label": 0, "category": "cell"}
    rows.write_text(json.dumps({"filename": "a.png", "detection": {"instances": [instance]}}))
    for path in (rows, rows.parent):
        ((each, found),) = find_formats(path)
        assert (each.name, found.root) == ("odvg", tmp_path)
        (row,) = open_files(recipe_of(each, found), found.root).rows
        assert isinstance(row, RawRecord) and row.record.regions[0].box_xyxy == (1, 2, 9, 8)


def test_a_file_of_a_set_tells_the_folder(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text("<annotation><filename>a.png</filename></annotation>")
    with pytest.raises(VilamError, match=re.escape(f"Pascal VOC is in {tmp_path}: set prepare.root to that")):
        find_formats(tmp_path / "a.xml")


def test_formats_of_folders_in_a_folder_are_told_with_their_roots(tmp_path: Path) -> None:
    samples.coco(tmp_path / "coco")
    samples.yolo(tmp_path / "yolo")
    found = {each.name: one.root for each, one in find_formats(tmp_path)}
    assert found == {"coco": tmp_path, "yolo": tmp_path / "yolo"}
    samples.yolo(tmp_path / "alone")
    assert {each.name for each, _ in find_formats(tmp_path / "alone")} == {"yolo"}
