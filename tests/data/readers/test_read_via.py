"""VIA: shapes, JSON of both versions, projects, CSV, the attribute that is the category."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from reading import PROJECT, opened, read, write_image

from vilam.data.readers import find_recipe
from vilam.errors import VilamError

READER = {"kind": "via"}
RECT = {"name": "rect", "x": 4, "y": 5, "width": 6, "height": 7}


def region(shape: dict[str, Any] | None = None, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape or RECT, "region_attributes": attributes or {"class": "valve"}}


def data(*regions: dict[str, Any], name: str = "a.png") -> dict[str, Any]:
    return {f"{name}99": {"filename": name, "size": 99, "regions": [*regions], "file_attributes": {}}}


def write(root: Path, content: object, name: str = "via_region_data.json") -> Path:
    write_image(root / "a.png")
    (root / name).write_text(json.dumps(content))
    return root


def regions_of(root: Path, *regions: dict[str, Any]) -> tuple[list[Any], list[str]]:
    (record,), problems = read(READER, write(root, data(*regions)))
    return list(record.regions), problems


def test_shapes(tmp_path: Path) -> None:
    regions, problems = regions_of(
        tmp_path,
        region(),
        region({"name": "polygon", "all_points_x": [1, 9, 9], "all_points_y": [1, 1, 8]}),
        region({"name": "circle", "cx": 20, "cy": 15, "r": 4.5}),
        region({"name": "ellipse", "cx": 20, "cy": 15, "rx": 8, "ry": 3, "theta": math.pi / 2}),
    )
    boxes = [(4, 5, 10, 12), (1, 1, 9, 8), (15.5, 10.5, 24.5, 19.5), (17, 7, 23, 23)]
    assert problems == [] and [one.box_xyxy for one in regions] == [pytest.approx(box) for box in boxes]
    assert [len(one.polygons) for one in regions] == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("attributes", "options", "category"),
    [
        ({"type": "valve", "Label": "gauge"}, {}, "gauge"),
        ({"what": "valve", "remark": "seen from far away"}, {"what": {"type": "dropdown"}}, "valve"),
        ({"kind of part": {"valve": True, "gauge": False}}, {}, "valve"),
        ({"part": "valve", "serial": "1"}, {}, "valve"),
    ],
)
def test_the_attribute_that_is_the_category(
    tmp_path: Path, attributes: dict[str, Any], options: dict[str, Any], category: str
) -> None:
    metadata = data(
        region(**attributes), region(**({**attributes, "serial": "2"} if "serial" in attributes else attributes))
    )
    content = {"_via_settings": {}, "_via_img_metadata": metadata, "_via_attributes": {"region": options, "file": {}}}
    (record,), problems = read(READER, write(tmp_path, content))
    assert problems == [] and {one.category for one in record.regions} == {category}


def test_another_attribute_of_words_is_an_expression(tmp_path: Path) -> None:
    regions, _ = regions_of(
        tmp_path, region(**{"class": "valve", "description": "the open valve", "comment": "ask him again"})
    )
    assert [one.text for one in regions[0].expressions] == ["the open valve"]


def test_regions_of_version_1_are_numbered(tmp_path: Path) -> None:
    content = {"a.png99": {"filename": "a.png", "size": 99, "regions": {"0": region(), "1": region()}}}
    (record,), problems = read(READER, write(tmp_path, content))
    assert problems == [] and len(record.regions) == 2


@pytest.mark.parametrize("first", ["filename", "#filename"])
def test_csv(tmp_path: Path, first: str) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name)
    heads = [first, "file_size", "file_attributes", "region_count", "region_id", "region_shape_attributes"]
    with (tmp_path / "via_region_data.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*heads, "region_attributes"])
        for number in (0, 1):
            table.writerow(["a.png", 99, "{}", 2, number, json.dumps(RECT), json.dumps({"class": "valve"})])
        table.writerow(["b.png", 99, "{}", 0, 0, "{}", "{}"])
    records, problems = read(READER, tmp_path)
    assert problems == [] and {one.image_id: len(one.regions) for one in records} == {"a": 2, "b": 0}


def test_of_a_csv_and_a_json_file_one_is_read(tmp_path: Path) -> None:
    write(tmp_path, data(region()))
    (tmp_path / "via_region_data.csv").write_text("filename,region_shape_attributes,region_attributes\n")
    assert len(read(READER, tmp_path)[0]) == 1


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (region({"name": "point", "cx": 1, "cy": 1}), "region 1: a point is no object"),
        (region({"name": "polyline"}), "a polyline is no object"),
        (region({"name": "star"}), "unknown shape star"),
        (region({"name": "rect", "x": 1}), "y is missing"),
        (region({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]}), "a polygon of 2 points"),
        (region({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1]}), "shorter"),
        (region(other="x"), "a region without class"),
    ],
)
def test_what_is_no_object_is_told(tmp_path: Path, one: dict[str, Any], message: str) -> None:
    regions, (problem,) = regions_of(tmp_path, one, region(), region())
    assert message in problem and len(regions) == 2


def test_splits_by_folder_and_recognition(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / split, data(region()))
    records, _ = read(READER, tmp_path)
    assert {record.image_id: record.split for record in records} == {"train/a": "train", "val/a": "test"}
    for path in (tmp_path, tmp_path / "val" / "via_region_data.json"):
        assert find_recipe("auto", path, PROJECT)[0].title == "VGG Image Annotator"


@pytest.mark.parametrize(
    "content", ['{"_via_img_metadata": 3}', '{"_via_img_metadata": {"a": {"regions": [1]}}}', '{"_via_']
)
def test_a_broken_file_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(VilamError, match=r"a\.json: not") as error:
        opened(READER, tmp_path)
    assert "\n" not in str(error.value)


def test_a_csv_of_another_encoding_is_one_line(tmp_path: Path) -> None:
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    (tmp_path / "via.csv").write_bytes(f"{head}\n".encode() + "\u00e9".encode("latin-1"))
    with pytest.raises(VilamError, match=r"via\.csv: not VIA's regions: 'utf-8' codec can't decode byte"):
        opened(READER | {"files": {"all": "via.csv"}}, tmp_path)


def test_regions_without_any_attribute_are_of_one_category(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As in sets of one class, such as the balloons of Mask R-CNN's sample."""
    bare = {"shape_attributes": RECT, "region_attributes": {}}
    regions, problems = regions_of(tmp_path, bare, bare)
    assert problems == [] and [(one.category, one.box_xyxy) for one in regions] == [("object", (4, 5, 10, 12))] * 2
    assert "its regions have no attributes: all are of the category object" in caplog.text


def project_of_via3(*shapes: list[float], kind: int = 2) -> dict[str, Any]:
    attributes = {
        "1": {"aname": "remark", "anchor_id": "FILE1_Z0_XY1", "type": 1, "options": {}},
        "2": {"aname": "part", "anchor_id": "FILE1_Z0_XY1", "type": 4, "options": {"0": "valve", "1": "gauge"}},
    }
    rows = {
        f"1_{number}": {"vid": "1", "flg": 0, "z": [], "xy": xy, "av": {"1": "", "2": "1"}}
        for number, xy in enumerate(shapes)
    }
    return {
        "project": {"pid": "x", "rev": "1", "pname": "parts", "vid_list": ["1", "2"]},
        "config": {"file": {"loc_prefix": {"1": ""}}},
        "attribute": attributes,
        "file": {
            str(i): {"fid": i, "fname": f"{name}.png", "type": kind, "loc": 1} for i, name in ((1, "a"), (2, "b"))
        },
        "metadata": {**rows, "2_x": {"vid": "2", "flg": 0, "z": [], "xy": [], "av": {"1": "of the file"}}},
        "view": {"1": {"fid_list": [1]}, "2": {"fid_list": ["2"]}},
    }


def test_a_project_of_version_3(tmp_path: Path) -> None:
    shapes = [
        [2, 4, 5, 6, 7],
        [3, 20, 15, 4.5],
        [4, 20, 15, 3, 8],
        [7, 1, 1, 9, 1, 9, 8],
        [8, 3, 9, 12, 2, 20, 11, 13, 17],
        [9, 25, 15, 20, 20, 15, 15],
        [1, 3, 3],
        [6, 1, 1, 2, 2],
        [2, 4],
    ]
    write_image(tmp_path / "b.png")
    root = write(tmp_path, project_of_via3(*shapes), "parts.json")
    assert find_recipe("auto", root, PROJECT)[0].name == "via"
    records, problems = read(READER, root)
    by_name = {one.image_id: one for one in records}
    boxes = [(4, 5, 10, 12), (15.5, 10.5, 24.5, 19.5), (17, 7, 23, 23), (1, 1, 9, 8), (3, 2, 20, 17), (15, 10, 25, 20)]
    assert [one.box_xyxy for one in by_name["a"].regions] == [pytest.approx(box) for box in boxes]
    assert {one.category for one in by_name["a"].regions} == {"gauge"} and by_name["b"].regions == ()
    told = ["region 7: a point is no object", "region 8: a polyline is no object", "region 9: unknown shape"]
    assert [line.partition(", ")[2].startswith(one) for line, one in zip(problems, told, strict=True)] == [True] * 3


def test_a_project_of_films_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=r"parts\.json: not VIA's regions: a project of films or sounds"):
        opened(READER, write(tmp_path, project_of_via3(kind=4), "parts.json"))
