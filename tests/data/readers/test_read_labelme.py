"""labelme: shapes, corners in any order, masks, groups, embedded pictures, paths of Windows, folders by split."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from reading import PROJECT, opened, read, write_image

from vilam.data.readers import find_recipe
from vilam.data.readers.items import Shape
from vilam.data.readers.labelme import _shape
from vilam.errors import VilamError

READER = {"kind": "labelme"}


def shape(kind: str, *points: tuple[float, float], label: str = "lamp", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": [*points], "group_id": None, "shape_type": kind, "flags": {}, **more}


def write(root: Path, *shapes: object, name: str = "a", **more: Any) -> Path:
    content = {"version": "5.5.0", "flags": {}, "shapes": [*shapes], "imagePath": f"{name}.png", "imageData": None}
    content |= {"imageHeight": 30, "imageWidth": 40}
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{name}.json").write_text(json.dumps({**content, **more}))
    return root


def regions_of(root: Path, *shapes: object) -> tuple[list[Any], list[str]]:
    write_image(root / "a.png")
    (record,), problems = read(READER, write(root, *shapes))
    return list(record.regions), problems


@given(*[st.tuples(st.integers(0, 20), st.integers(0, 20))] * 2)
def test_a_rectangle_has_its_corners_in_any_order(one: tuple[int, int], two: tuple[int, int]) -> None:
    xs, ys = sorted((one[0], two[0])), sorted((one[1], two[1]))
    assert _shape(shape("rectangle", one, two)) == Shape("", (xs[0], ys[0], xs[1], ys[1]))


def test_outlines_and_circles(tmp_path: Path) -> None:
    turned = shape("oriented_rectangle", (10, 0), (20, 10), (10, 20), (0, 10))
    old = {"label": "lamp", "points": [[0, 0], [9, 0], [9, 9]]}  # labelme 3 had no shape_type
    regions, problems = regions_of(tmp_path, shape("circle", (20, 15), (23, 19)), turned, old)
    assert problems == [] and regions[0].box_xyxy == pytest.approx((15, 10, 25, 20))  # a radius of 5
    assert regions[1].box_xyxy == (0, 0, 20, 20) and len(regions[1].polygons[0]) == 4
    assert regions[2].polygons == (((0, 0), (9, 0), (9, 9)),)


def test_a_mask_lies_in_its_box(tmp_path: Path) -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[1:5, 2:8] = 1
    file = BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    regions, problems = regions_of(tmp_path, shape("mask", (10, 12), (17, 17), mask=text))
    assert problems == [] and regions[0].box_xyxy == (12, 13, 18, 17) and len(regions[0].polygons) == 1


def test_shapes_of_a_label_and_group_are_one_object(tmp_path: Path) -> None:
    one, two = [(1.0, 1.0), (5.0, 1.0), (5.0, 5.0)], [(20.0, 20.0), (25.0, 20.0), (25.0, 25.0)]
    regions, _ = regions_of(
        tmp_path,
        shape("polygon", *one, group_id=0),
        shape("polygon", *one, label="sofa", group_id=0),
        shape("polygon", *two, group_id=0),
        shape("rectangle", (30, 0), (35, 5), group_id=0),
    )
    assert [(region.category, region.box_xyxy) for region in regions] == [
        ("lamp", (1, 0, 35, 25)),
        ("sofa", (1, 1, 5, 5)),
    ]
    assert len(regions[0].polygons) == 3  # the rectangle has an outline beside outlines


def test_a_description_of_words_is_an_expression(tmp_path: Path) -> None:
    corners = (1, 1), (9, 9)
    texts = ["lamp by the door", "x1", ""]
    regions, _ = regions_of(tmp_path, *(shape("rectangle", *corners, description=text) for text in texts))
    assert [[one.text for one in region.expressions] for region in regions] == [["lamp by the door"], [], []]


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (shape("line", (1, 1), (2, 2)), "shape 1: a line is no object"),
        (shape("point", (1, 1)), "a point is no object"),
        (shape("linestrip", (1, 1), (2, 2)), "a linestrip is no object"),
        (shape("polygon", (1, 1), (2, 2)), "a polygon of 2 points"),
        (shape("rectangle", (1, 1)), "a rectangle of 1 corners"),
        (shape("star", (1, 1)), "unknown shape star"),
        (shape("polygon", label=""), "a polygon without a label"),
        (shape("circle", (1, 1), (1, 1)), "ellipse of no area"),
        (shape("mask", (1, 1), (2, 2), mask="AAAA"), "a mask that is no picture"),
        ({"label": "lamp"}, "points is missing"),
    ],
)
def test_what_is_no_object_is_told(tmp_path: Path, one: dict[str, Any], message: str) -> None:
    regions, (problem,) = regions_of(tmp_path, one, shape("rectangle", (1, 1), (9, 9)))
    assert message in problem and len(regions) == 1


def test_pictures_are_found_by_paths_of_windows_and_by_the_files_own_name(tmp_path: Path) -> None:
    write_image(tmp_path / "pictures" / "a.png")
    write_image(tmp_path / "notes" / "b.JPG")
    write(tmp_path / "notes", imagePath="..\\pictures\\a.png")
    write(tmp_path / "notes", name="b", imagePath="gone.bmp")
    records, problems = read(READER, tmp_path)
    assert problems == [] and {record.image_id for record in records} == {"pictures/a", "notes/b"}


def test_an_embedded_picture_is_read(tmp_path: Path) -> None:
    data = base64.b64encode(write_image(tmp_path / "x.png").read_bytes()).decode()
    (tmp_path / "x.png").unlink()
    (record,), problems = read(READER, write(tmp_path, shape("rectangle", (1, 1), (9, 9)), imageData=data))
    assert problems == [] and (record.image_id, record.width) == ("a", 40)


def test_folders_name_the_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_image(tmp_path / split / "a.png")
        write(tmp_path / split)
    assert [record.split for record in read(READER, tmp_path)[0]] == ["train", "val", "test"]


def test_a_broken_file_loses_nothing_else(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    write(tmp_path)
    (tmp_path / "b.json").write_text('{"shapes": [{"shape_type": ')
    (tmp_path / "c.json").write_text('{"shapes": 3, "imagePath": "c.png"}')
    records, problems = read(READER, tmp_path)
    assert len(records) == 1 and len(problems) == 2 and "b.json: not readable as JSON" in problems[0]


def test_a_folder_or_a_file_is_recognised(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.png")
    write(tmp_path / "in")
    assert find_recipe("auto", tmp_path, PROJECT)[0].title == "labelme"
    recipe, folder = find_recipe("auto", tmp_path / "in" / "a.json", PROJECT)
    assert recipe.reader.kind == "labelme" and folder == tmp_path / "in"
    with pytest.raises(VilamError, match="no annotation file"):
        opened(READER, write_image(tmp_path / "other" / "a.png").parent)


@pytest.mark.parametrize("content", ["", '{"version": "5.5.0", "shapes": [{"label": '])
def test_what_is_left_of_a_file_is_told(tmp_path: Path, content: str) -> None:
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")
    write(tmp_path, shape("rectangle", (1, 1), (9, 9)))
    (tmp_path / "b.json").write_text(content)
    (tmp_path / "notes.json").write_text("")
    records, (problem,) = read(READER, tmp_path)
    assert len(records) == 1 and problem.startswith("b.json: not readable as JSON")


def test_a_file_that_names_itself_has_the_picture_beside_it(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (record,), problems = read(READER, write(tmp_path, shape("rectangle", (1, 2), (9, 8)), imagePath="a.json"))
    assert problems == [] and record.regions[0].box_xyxy == (1, 2, 9, 8)
