"""Pascal VOC: boxes, splits and bad files, and the real cells if VILAM_TEST_DATA has them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from reading import opened, read, write_image

from vilam.data.readers import voc
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
    assert problem.location.endswith("a.xml, object 2")
    assert message in problem.message


def test_missing_and_broken_files_are_problems(tmp_path: Path) -> None:
    root = _folder(tmp_path, a="", b="", c="")
    (root / "JPEGImages" / "a.jpg").unlink()
    (root / "Annotations" / "b.xml").unlink()
    (root / "Annotations" / "c.xml").write_text("<annotation>")
    records, problems = _rows(root)
    assert len(records) == 2
    assert {problem.location[-5:]: problem.message.partition(":")[0] for problem in problems} == {
        "a.xml": "its image a is not found",
        "b.xml": "listed in train.txt, but not there",
        "c.xml": "cannot be read",
    }
    assert len(problems) == 3


def test_without_image_sets_a_hash_decides_the_split(tmp_path: Path) -> None:
    root = _folder(tmp_path, **{f"image{number}": "" for number in range(60)})
    for path in (root / "ImageSets" / "Main").iterdir():
        path.unlink()
    splits = Counter(row.record.split for row in _rows(root)[0])
    assert set(splits) == {"train", "val", "test"} and splits["train"] > 35


def test_a_folder_without_voc_is_reported(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match="no XML file of Pascal VOC in it"):
        opened("voc", tmp_path)


VOC = {"kind": "voc"}
BOX = OBJECT.format(3, 4, 20, 12)
DIVIDED = {"a": "train", "b": "train"}
XY = "<x{0}>{1}</x{0}><y{0}>{2}</y{0}>"


def _file(path: Path, objects: str = BOX, facts: str = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation>{facts}{objects}</annotation>")


def _list(root: Path, **lines: str) -> None:
    folder = root / "ImageSets" / "Main"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in lines.items():
        (folder / f"{name}.txt").write_text("\n".join(content.split(",")) + "\n")


@pytest.mark.parametrize(
    ("xml", "picture", "facts"),
    [
        ("Annotations/a b.xml", "JPEGImages/a b.jpg", SIZE),
        ("annotations/sub/a.xml", "images/sub/a.PNG", SIZE),
        ("VOC2012/Annotations/a.xml", "VOC2012/JPEGImages/a.jpg", ""),
        ("a b.xml", "a b.png", "<size><width>0</width><height>0</height></size>"),
        ("deep/er/a.xml", "deep/er/a.bmp", SIZE),
        ("Annotations/a.xml", "photographs/a.jpg", SIZE),
        ("Annotations/1.xml", "JPEGImages/a.jpg", "<filename>a.jpg</filename>"),
        ("labels/a.xml", "elsewhere/a.jpg", "<path>C:\\Users\\somebody\\elsewhere\\a.jpg</path>"),
    ],
)
def test_the_picture_of_a_file_is_found(tmp_path: Path, xml: str, picture: str, facts: str) -> None:
    write_image(tmp_path / picture)
    write_image(tmp_path / "unlabelled.png")
    _file(tmp_path / xml, facts=facts)
    (record,), problems = read(VOC, tmp_path)
    assert problems == [] and record.image_id == picture.rpartition(".")[0]
    assert record.regions[0].box_xyxy == (2, 3, 20, 12)
    found = voc.recognises(tmp_path)
    assert found is not None and (found.title, found.root) == ("Pascal VOC", tmp_path)


@pytest.mark.parametrize(
    ("facts", "objects", "box"),
    [
        (SIZE, BOX, (2, 3, 20, 12)),
        (SIZE, BOX + OBJECT.format(0, 5, 9, 9), (3, 4, 20, 12)),
        (SIZE + "<owner><name>Label Studio</name></owner>", BOX, (3, 4, 20, 12)),
        (SIZE + "<source><annotation>Unknown</annotation><image>Unknown</image></source>", BOX, (3, 4, 20, 12)),
        (SIZE + "<source><database>Unknown</database></source>", BOX, (2, 3, 20, 12)),
        (SIZE, OBJECT.format(20, 12, 3, 4), (2, 3, 20, 12)),
    ],
)
def test_a_set_that_counts_from_zero_is_told(
    tmp_path: Path, facts: str, objects: str, box: tuple[float, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_image(tmp_path / "a.png")
    _file(tmp_path / "a.xml", objects, facts)
    assert read(VOC, tmp_path)[0][0].regions[0].box_xyxy == box
    assert f"pixels are counted from {0 if box[0] == 3 else 1}" in caplog.text


@pytest.mark.parametrize(
    ("lists", "splits"),
    [
        ({"train": "a,b", "val": "c", "trainval": "a,b,c,d"}, {"a": "train", "b": "train", "c": "held", "d": "train"}),
        ({"trainval": "a,b,c", "val": "c"}, {"a": "train", "b": "train", "c": "held"}),
        ({"train": "a,b,c", "val": "c", "test": "d"}, {"a": "train", "b": "train", "c": "val", "d": "test"}),
        ({"train": "a", "val": "b", "test": "x1,x2"}, {"a": "train", "b": "held"}),
        ({"train": "a.jpg", "val": "JPEGImages/b.jpg", "query": "c"}, {"a": "train", "b": "val", "c": "query"}),
        (
            {"cell_train": "a 1,b -1", "bead_train": "a -1,b -1", "cell_val": "c 0"},
            {"a": "train", "b": "train", "c": "held"},
        ),
        (
            {"train": "a,b", "val": "c", "test": "d", "cell_test": "a 1"},
            {"a": "train", "b": "train", "c": "val", "d": "test"},
        ),
        ({"test": "d"}, {"a": "train", "b": "train", "c": "train", "d": "test"}),
        ({"Train": "a", "Validation": "b", "Test": "c"}, {"a": "train", "b": "val", "c": "test"}),
    ],
)
def test_lists_tell_splits(tmp_path: Path, lists: dict[str, str], splits: dict[str, str]) -> None:
    """Without a test list, val becomes test, and of train a part may become val."""
    for name in "abcd":
        write_image(tmp_path / "JPEGImages" / f"{name}.jpg")
        _file(tmp_path / "Annotations" / f"{name}.xml")
    _list(tmp_path, **lists)
    records, problems = read(VOC, tmp_path)
    assert problems == [] and {record.image_id[-1] for record in records} == {*splits}
    for record in records:
        wanted = {"held": ("test",), "train": ("train", "val")}.get(splits[record.image_id[-1]])
        assert record.split in (wanted or (splits[record.image_id[-1]],))


def test_names_in_lists_may_have_spaces_and_folders(tmp_path: Path) -> None:
    for name in ("a b", "c -1", "sub/d", "e"):
        write_image(tmp_path / "JPEGImages" / f"{name}.jpg")
        _file(tmp_path / "Annotations" / f"{name}.xml")
    _list(tmp_path, train="a b,e", val="c -1", test="sub/d 1")
    records, problems = read(VOC, tmp_path)
    assert problems == [] and [(record.image_id[11:], record.split) for record in records] == [
        ("a b", "train"),
        ("e", "train"),
        ("c -1", "val"),
        ("sub/d", "test"),
    ]


def test_two_years_are_one_set(tmp_path: Path) -> None:
    for year, lists in (("VOC2007", {"train": "1", "val": "2", "test": "3"}), ("VOC2012", {"train": "1", "val": "2"})):
        for name in "123":
            write_image(tmp_path / year / "JPEGImages" / f"{name}.jpg")
            _file(tmp_path / year / "Annotations" / f"{name}.xml")
        _list(tmp_path / year, **lists)
    records, problems = read(VOC, tmp_path)
    assert problems == [] and {record.image_id: record.split for record in records} == {
        "VOC2007/JPEGImages/1": "train",
        "VOC2012/JPEGImages/1": "train",
        "VOC2007/JPEGImages/2": "val",
        "VOC2012/JPEGImages/2": "val",
        "VOC2007/JPEGImages/3": "test",
    }


def test_folders_tell_splits_as_roboflow_names_them(tmp_path: Path) -> None:
    for folder in ("train", "valid", "test"):
        write_image(tmp_path / folder / "a_jpg.rf.12ab.jpg")
        facts = f"{SIZE}<filename>a_jpg.rf.12ab.jpg</filename><source><database>roboflow.com</database></source>"
        _file(tmp_path / folder / "a_jpg.rf.12ab.xml", facts=facts)
    records, problems = read(VOC, tmp_path)
    assert problems == [] and [record.split for record in records] == ["train", "val", "test"]
    found = voc.recognises(tmp_path)
    assert found is not None and found.title == "Roboflow Pascal VOC"


@pytest.mark.parametrize(
    ("inner", "ring"),
    [
        (
            "<polygon><x1>3</x1><y1>4</y1><x2>20</x2><y2>4</y2><x3>20</x3><y3>12</y3></polygon>",
            [(3, 4), (20, 4), (20, 12)],
        ),
        (
            "<polygon><pt><x>3</x><y>4</y></pt><pt><x>20</x><y>4</y></pt><pt><x>20</x><y>12</y></pt></polygon>",
            [(3, 4), (20, 4), (20, 12)],
        ),
        (
            "<robndbox><cx>20</cx><cy>15</cy><w>10</w><h>4</h><angle>1.5707963267948966</angle></robndbox>",
            [(22, 10), (22, 20), (18, 20), (18, 10)],
        ),
    ],
)
def test_outlines_are_read(tmp_path: Path, inner: str, ring: list[tuple[float, float]]) -> None:
    write_image(tmp_path / "a.png")
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    _file(tmp_path / "a.xml", f"<object><name> cell </name><difficult>1</difficult>{inner}{part}</object>")
    (record,), problems = read(VOC, tmp_path)
    assert problems == [] and [region.category for region in record.regions] == ["cell"]
    assert record.regions[0].polygons[0] == tuple((pytest.approx(x - 0.5), pytest.approx(y - 0.5)) for x, y in ring)


@pytest.mark.parametrize(
    "content",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]><annotation><object><name>&b;</name></object></annotation>',
        '<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation/>',
        "<annotation>" + "<object>" * 100_000,
        '<?xml version="1.0" encoding="none"?><annotation/>',
        "",
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(VilamError, match=r"no XML file of Pascal VOC in it \(.*a\.xml: cannot be read") as error:
        opened(VOC, tmp_path)
    assert "\n" not in str(error.value)


def test_shares_of_the_picture_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    _file(tmp_path / "a.xml", "".join(OBJECT.format(0.1, 0.2, 0.3 + one / 10, 0.5) for one in range(3)))
    with pytest.raises(VilamError, match="shares of the picture"):
        opened(VOC, tmp_path)


@pytest.mark.parametrize("content", ["<annotations><image/></annotations>", "<html/>", "no XML"])
def test_files_of_other_formats_are_not_claimed(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.xml").write_text(content)
    assert voc.recognises(tmp_path) is None and voc.recognises(tmp_path / "a.xml") is None


def test_real_cells_are_read_except_two_boxes_of_no_area(real_data: Path) -> None:
    source = opened("voc", real_data / "bccd")
    assert source.categories == ("Platelets", "RBC", "WBC")
    assert source.licences == ("MIT License",)
    records, problems = _rows(real_data / "bccd")
    assert Counter(row.record.split for row in records) == {"train": 205, "val": 87, "test": 72}
    assert sum(len(row.record.regions) for row in records) == 4155 + 372 + 361 - 2
    assert len(problems) == 2 and all("box of no area" in problem.message for problem in problems)


def test_files_with_a_suffix_in_capitals_and_in_utf_16_are_read(tmp_path: Path) -> None:
    root = _folder(tmp_path, a=OBJECT.format(1, 1, 9, 9))
    (path := root / "Annotations" / "a.xml").rename(capital := path.with_suffix(".XML"))
    text = f'<?xml version="1.0" encoding="utf-16"?>{capital.read_text()}'
    capital.write_bytes(text.encode("utf-16"))
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "a.xml").write_bytes(b"\0\5\x16")
    records, problems = _rows(root)
    assert problems == [] and len(records) == 3
    assert voc.recognises(root) is not None


def test_lists_beside_a_folder_of_the_files_are_found_by_names(tmp_path: Path) -> None:
    """As in Oxford's pets: annotations/xmls/a.xml, and annotations/trainval.txt with numbers behind each name."""
    for name in "abc":
        _file(tmp_path / "annotations" / "xmls" / f"{name}.xml")
        write_image(tmp_path / "images" / f"{name}.jpg")
    (tmp_path / "annotations" / "trainval.txt").write_text("# name class species breed\na 1 1 1\n")
    (tmp_path / "annotations" / "val.txt").write_text("b 1 1 1\n")
    (tmp_path / "annotations" / "test.txt").write_text("c 1 2 1\n")
    records, problems = _rows(tmp_path)
    found = {row.record.image_id[-1]: row.record.split for row in records}
    assert problems == [] and found == {"a": "train", "b": "val", "c": "test"}


def test_objects_of_labelmes_web_tool(tmp_path: Path) -> None:
    """A deleted object is none, a mask has a box of its own, and pixels are counted from 0."""
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((2, 3), (9, 3), (9, 8), (2, 8)))
    box = "<box><xmin>20</xmin><ymin>10</ymin><xmax>30</xmax><ymax>16</ymax></box>"
    objects = (
        f"<object><name>cell</name><deleted>0</deleted><polygon>{points}</polygon></object>"
        f"<object><name>cell</name><deleted>1</deleted><polygon>{points}</polygon></object>"
        f"<object><name>bead</name><deleted>0</deleted><segm>{box}<mask>a.png</mask></segm></object>"
    )
    _file(tmp_path / "a.xml", objects, "<imagesize><nrows>30</nrows><ncols>40</ncols></imagesize>")
    write_image(tmp_path / "a.jpg")
    (row,), problems = _rows(tmp_path)
    assert problems == [] and [(one.category, one.box_xyxy) for one in row.record.regions] == [
        ("cell", (2, 3, 9, 8)),
        ("bead", (20, 10, 30, 16)),
    ]
