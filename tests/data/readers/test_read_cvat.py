"""CVAT for images: turned boxes, masks in a window, skeletons, groups, subsets, texts, what is no object."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import PROJECT, opened, read, write_image

from vilam.data.readers import find_recipe
from vilam.data.readers.figures import runs_to_mask
from vilam.errors import VilamError

CVAT = {"kind": "cvat"}
LABELS = """
<label><name>car</name><type>any</type><attributes>
  <attribute><name>description</name><input_type>text</input_type></attribute>
  <attribute><name>colour</name><input_type>select</input_type></attribute>
  <attribute><name>comment</name><input_type>text</input_type></attribute>
</attributes></label>
<label><name>hand</name><type>skeleton</type><attributes/><svg>&lt;line data-type="edge" data-node-from="1"
 data-node-to="2"&gt;&lt;circle data-type="element node" data-node-id="1" data-label-name="wrist"&gt;&lt;circle
 data-type="element node" data-node-id="2" data-label-name="thumb"&gt;</svg></label>
<label><name>wrist</name><type>points</type><attributes/><parent>hand</parent></label>
<label><name>thumb</name><type>points</type><attributes/><parent>hand</parent></label>
"""


def write(root: Path, *images: str, meta: str = "<subset>default</subset>", task: str = "task") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "annotations.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
        f"<meta><{task}>{meta}<labels>{LABELS}</labels></{task}></meta>{''.join(images)}</annotations>"
    )
    return root


def image(root: Path, shapes: str, name: str = "a.png", size: str = 'width="40" height="30"', more: str = "") -> str:
    write_image(root / "images" / name)
    return f'<image id="0" name="{Path(name).name}" {more} {size}>{shapes}</image>'


def shapes_of(root: Path, shapes: str) -> tuple[list, list[str]]:  # type: ignore[type-arg]
    (record,), problems = read(CVAT, write(root, image(root, shapes)))
    return list(record.regions), problems


def test_a_box_turns_clockwise_about_its_centre(tmp_path: Path) -> None:
    box = '<box label="car" occluded="0" xtl="10.00" ytl="12.00" xbr="26.00" ybr="16.00" {} z_order="0"/>'
    regions, problems = shapes_of(tmp_path, box.format("") + box.format('rotation="90.00"'))
    assert problems == [] and regions[0].box_xyxy == (10, 12, 26, 16) and regions[0].polygons == ()
    assert regions[1].box_xyxy == pytest.approx((16, 6, 20, 22))  # 4 x 16 about (18, 14)
    assert regions[1].polygons[0][0] == pytest.approx((20, 6))  # the upper left corner is now the upper right one


def test_an_ellipse_reaches_its_radii(tmp_path: Path) -> None:
    (one, two), _ = shapes_of(
        tmp_path,
        '<ellipse label="car" cx="20" cy="15" rx="10" ry="5"/>'
        '<ellipse label="car" cx="20" cy="15" rx="10" ry="5" rotation="30"/>',
    )
    assert one.box_xyxy == pytest.approx((10, 10, 30, 20))
    half = math.hypot(10 * math.cos(math.pi / 6), 5 * math.sin(math.pi / 6))
    assert one.polygons[0] and two.box_xyxy[2] - 20 == pytest.approx(half, abs=0.05)


def test_a_mask_lies_in_its_window(tmp_path: Path) -> None:
    rle = "1, 3, 1, 3, 1, 3"  # rows of 4 pixels: the first is outside, three are inside
    regions, _ = shapes_of(tmp_path, f'<mask label="car" rle="{rle}" left="5" top="7" width="4" height="3"/>')
    assert regions[0].box_xyxy == (6, 7, 9, 10) and len(regions[0].polygons) == 1


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 5))
def test_run_lengths_are_read_row_by_row(runs: list[int], height: int) -> None:
    runs = [*runs, -sum(runs) % height + height]
    flat = [number % 2 for number, run in enumerate(runs) for _ in range(run)]
    mask = runs_to_mask(runs, len(flat) // height, height)
    assert mask.reshape(-1).tolist() == [bool(one) for one in flat]


def test_a_skeleton_has_keypoints_in_the_order_of_its_label(tmp_path: Path) -> None:
    shapes = (
        '<skeleton label="hand" z_order="0"><points label="thumb" outside="0" occluded="1" points="9.00,8.00"/>'
        '<points label="wrist" outside="0" occluded="0" points="3.00,4.00"/></skeleton>'
        '<skeleton label="hand"><points label="wrist" outside="1" occluded="0" points="3,4"/>'
        '<points label="thumb" outside="0" occluded="0" points="5,6"/></skeleton>'
    )
    regions, problems = shapes_of(tmp_path, shapes)
    assert problems == [] and regions[0].keypoints == ((3, 4, 2), (9, 8, 1)) and regions[0].box_xyxy == (3, 4, 9, 8)
    assert regions[1].keypoints == ((0, 0, 0), (5, 6, 2))
    assert opened(CVAT, tmp_path).keypoints["hand"].skeleton == ((0, 1),)


def test_shapes_of_a_group_and_label_are_one_object(tmp_path: Path) -> None:
    ring = '<polygon label="{}" points="{}" group_id="4"/>'
    one, two = "1,1;5,1;5,5", "20,20;25,20;25,25"
    regions, _ = shapes_of(
        tmp_path, ring.format("car", one) + '<box label="car" xtl="30" ytl="2" xbr="35" ybr="9"/>'
        + ring.format("car", two) + ring.format("hand", one)
    )  # fmt: skip
    assert [region.box_xyxy for region in regions] == [(1, 1, 25, 25), (30, 2, 35, 9), (1, 1, 5, 5)]
    assert len(regions[0].polygons) == 2


def test_only_words_of_a_text_attribute_are_an_expression(tmp_path: Path) -> None:
    texts = {"description": "the  red car", "colour": "dark red", "comment": "ask Bob again"}
    attributes = "".join(f'<attribute name="{name}">{text}</attribute>' for name, text in texts.items())
    regions, _ = shapes_of(tmp_path, f'<box label="car" xtl="1" ytl="1" xbr="9" ybr="9">{attributes}</box>')
    assert [one.text for one in regions[0].expressions] == ["the red car"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ('<polyline label="car" points="1,1;2,2"/>', "shape 1: a polyline is no object"),
        ('<points label="car" points="1,1"/>', "a points is no object"),
        ('<cuboid label="car"/>', "a cuboid is no object"),
        ('<star label="car"/>', "unknown shape star"),
        ('<box xtl="1" ytl="1" xbr="9" ybr="9"/>', "a box without a label"),
        ('<box label="car" xtl="1"/>', "a box without ytl"),
        ('<box label="car" xtl="x" ytl="1" xbr="9" ybr="9"/>', "could not convert"),
        ('<polygon label="car" points="1,1;2,2"/>', "a polygon of 2 points"),
        ('<mask label="car" rle="1, 2" left="0" top="0" width="9" height="9"/>', "run lengths of 3 pixels"),
        ('<mask label="car" rle="1" left="0" top="0" width="99999" height="99999"/>', "a mask of 99999x99999"),
        ('<ellipse label="car" cx="1" cy="1" rx="0" ry="5"/>', "ellipse of no area"),
    ],
)
def test_what_is_no_object_is_told(tmp_path: Path, shape: str, message: str) -> None:
    good = '<box label="car" xtl="1" ytl="1" xbr="9" ybr="9"/>'
    (record,), (problem,) = read(CVAT, write(tmp_path, image(tmp_path, shape + good)))
    assert message in problem and len(record.regions) == 1
    assert record.unmarked == (("car",) if 'label="car"' in shape else ())


def test_a_tag_alone_is_a_picture_without_objects(tmp_path: Path) -> None:
    assert shapes_of(tmp_path, '<tag label="car" source="manual"></tag>') == ([], [])


def test_subsets_are_splits_and_name_the_folder(tmp_path: Path) -> None:
    names = {"Train": "train", "Validation": "val", "Test": "test"}
    images = [image(tmp_path, "", f"{subset}/a.png", more=f'subset="{subset}" task_id="1"') for subset in names]
    records, problems = read(CVAT, write(tmp_path, *images, task="project", meta=""))
    assert problems == [] and [record.split for record in records] == ["train", "val", "test"]
    assert {record.image_id for record in records} == {f"images/{subset}/a" for subset in names}


def test_tasks_in_folders_and_frames_without_suffix_are_read(tmp_path: Path) -> None:
    for task in ("one", "two"):
        write_image(tmp_path / task / "images" / "frame_000000.PNG")
        write(tmp_path / task, '<image id="0" name="frame_000000" width="40" height="30"/>')
    records, problems = read(CVAT, tmp_path)
    assert problems == [] and len({record.image_id for record in records}) == 2


def test_files_may_be_named_by_split(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write(tmp_path, image(tmp_path, "", f"{split}.png"), meta="")
        (tmp_path / "annotations.xml").rename(tmp_path / f"{split}.xml")
    assert [record.image_id for record in read(CVAT, tmp_path)[0]] == ["images/train", "images/val", "images/test"]


def test_a_folder_or_the_file_is_recognised(tmp_path: Path) -> None:
    root = write(tmp_path, image(tmp_path, ""))
    for path in (root, root / "annotations.xml"):
        recipe, folder = find_recipe("auto", path, PROJECT)
        assert (recipe.title, folder) == ("CVAT for images 1.1", root) and recipe.reader.kind == "cvat"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotations>\n<version>1.1</version>", "not readable as XML"),
        (
            '<!DOCTYPE a [<!ENTITY b "c">]><annotations>\n<version>1.1</version></annotations>',
            "declares a document type",
        ),
        ('<annotations>\n<version>1.1</version><track id="0"/></annotations>', "no pictures of the film's frames"),
        ("<other/>", "no annotation file"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "annotations.xml").write_text(content)
    with pytest.raises(VilamError, match=message) as error:
        opened(CVAT, tmp_path)
    assert "\n" not in str(error.value)


def test_a_file_that_tells_no_version_is_known_by_its_images(tmp_path: Path, project: Path) -> None:
    box = '<box label="car" xtl="10" ytl="12" xbr="26" ybr="16"/>'
    text = f"<annotations>{image(tmp_path, box)}</annotations>"
    (tmp_path / "cvat.xml").write_text(text)
    recipe, root = find_recipe("auto", tmp_path, project)
    assert recipe.name == "cvat"
    assert read(CVAT, root)[0][0].regions[0].box_xyxy == (10, 12, 26, 16)


FILM = """
<track id="0" label="car" source="manual">
  <box frame="0" outside="0" occluded="0" keyframe="1" xtl="1.00" ytl="2.00" xbr="11.00" ybr="12.00" z_order="0"></box>
  <box frame="1" outside="0" occluded="0" keyframe="0" xtl="3.00" ytl="2.00" xbr="13.00" ybr="12.00" z_order="0"></box>
  <box frame="2" outside="1" occluded="0" keyframe="1" xtl="3.00" ytl="2.00" xbr="13.00" ybr="12.00" z_order="0"></box>
</track>
<track id="1" label="car" source="manual">
  <polygon frame="1" outside="0" occluded="1" keyframe="1" points="20,5;30,5;30,9" z_order="0"></polygon>
</track>
<track id="2" label="hand" source="manual">
  <skeleton frame="3" keyframe="1" z_order="0">
    <points label="wrist" keyframe="1" outside="0" occluded="0" points="8.00,9.00"></points>
    <points label="thumb" keyframe="1" outside="1" occluded="0" points="0.00,0.00"></points>
  </skeleton>
</track>"""
SIDES = "<original_size><width>40</width><height>30</height></original_size>"


def film(root: Path, numbers: range, tracks: str = FILM, name: str = "frame_{:06d}.PNG") -> Path:
    for number in numbers:
        write_image(root / "images" / name.format(number))
    about = f"<start_frame>0</start_frame><stop_frame>4</stop_frame><mode>interpolation</mode>{SIDES}"
    return write(root, tracks, meta=about)


def test_tracks_of_a_film_are_objects_of_its_frames(tmp_path: Path, project: Path) -> None:
    recipe, root = find_recipe("auto", film(tmp_path, range(5)), project)
    assert recipe.title == "CVAT for video 1.1"
    records, problems = read(CVAT, root)
    boxes = {int(one.image_id[-6:]): [(each.category, each.box_xyxy) for each in one.regions] for one in records}
    assert problems == [] and boxes == {
        0: [("car", (1, 2, 11, 12))],
        1: [("car", (3, 2, 13, 12)), ("car", (20, 5, 30, 9))],
        2: [],
        3: [("hand", (8, 9, 8, 9))],
        4: [],
    }


def test_frames_without_pictures_are_counted(tmp_path: Path) -> None:
    records, problems = read(CVAT, film(tmp_path, range(0, 5, 2)))
    assert len(records) == 3
    assert problems == ["annotations.xml: pictures of 2 frames with objects not found, the first: frame 1"]


@pytest.mark.parametrize(
    ("numbers", "tracks", "message"),
    [
        (range(0), FILM, "no pictures of the film's frames: export it with «Save images»"),
        (range(1, 6), FILM, "its frames are counted from 0, their pictures from 1"),
        (range(5), FILM.replace("<box f", "<box x", 1), "a box of track 0 without a frame"),
        (range(5), FILM.replace('<track id="1"', '<track id="1" task_id="7"'), "export each task alone"),
    ],
)
def test_a_film_that_cannot_be_read_is_one_line(tmp_path: Path, numbers: range, tracks: str, message: str) -> None:
    with pytest.raises(VilamError, match=message):
        opened(CVAT, film(tmp_path, numbers, tracks))


def test_a_missing_picture_is_named_as_in_the_file(tmp_path: Path) -> None:
    root = write(tmp_path, image(tmp_path, ""), '<image id="1" name="cam 1/b.png" width="40" height="30"/>', meta="")
    _, (problem,) = read(CVAT, root)
    assert problem == "annotations.xml: image cam 1/b.png: image file images/cam 1/b.png not found"
