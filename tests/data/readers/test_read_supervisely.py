"""Supervisely: rectangles to their last pixel, bitmaps, graphs, splits, what is no object."""

from __future__ import annotations

import base64
import json
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from reading import PROJECT, opened, read, write_image

from vilam.data.readers import find_recipe
from vilam.errors import VilamError

READER = {"kind": "supervisely"}
GRAPH = {
    "nodes": {"n1": {"label": "wrist", "loc": [0, 0]}, "n2": {"label": "thumb"}},
    "edges": [{"src": "n1", "dst": "n2"}],
}
META = {
    "classes": [
        {"title": "cell", "shape": "any", "color": "#FF0000"},
        {"title": "hand", "shape": "graph", "geometry_config": GRAPH},
    ],
    "tags": [],
}


def thing(kind: str | None, name: str = "cell", **more: Any) -> dict[str, Any]:
    return {"id": 1, "classTitle": name, "geometryType": kind, "description": "", "tags": [], **more}


def points(*exterior: tuple[int, int]) -> dict[str, Any]:
    return {"exterior": [*exterior], "interior": []}


def write(root: Path, *objects: dict[str, Any], dataset: str = "ds0", tags: tuple[str, ...] = (), **more: Any) -> Path:
    (root / dataset / "ann").mkdir(parents=True, exist_ok=True)
    (root / "meta.json").write_text(json.dumps(META))
    write_image(root / dataset / "img" / "a.png")
    own = [{"name": tag, "value": None} for tag in tags]
    content = {"description": "", "tags": own, "size": {"height": 30, "width": 40}, "objects": [*objects], **more}
    (root / dataset / "ann" / "a.png.json").write_text(json.dumps(content))
    return root


def regions_of(root: Path, *objects: dict[str, Any]) -> tuple[list[Any], list[str]]:
    (record,), problems = read(READER, write(root, *objects))
    return list(record.regions), problems


def packed(mask: np.ndarray, mode: str) -> str:  # type: ignore[type-arg]
    file = BytesIO()
    image = Image.fromarray(mask)
    if mode == "RGBA":
        image = Image.merge("RGBA", (image, image, image, image))
    image.convert(mode).save(file, "PNG")
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def test_a_rectangle_includes_its_last_pixel(tmp_path: Path) -> None:
    old = thing(None, points=points((1, 2), (5, 6)))
    regions, problems = regions_of(tmp_path, thing("rectangle", points=points((9, 8), (4, 3))), old)
    assert problems == [] and [one.box_xyxy for one in regions] == [(4, 3, 10, 9), (1, 2, 6, 7)]


@pytest.mark.parametrize("mode", ["1", "L", "RGBA", "P"])
def test_a_bitmap_lies_at_its_origin(tmp_path: Path, mode: str) -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[1:5, 2:8] = 255
    bitmap = {"data": packed(mask, mode), "origin": [10, 12]}
    regions, problems = regions_of(tmp_path, thing("bitmap", bitmap=bitmap, description="the long cell"))
    assert problems == [] and regions[0].box_xyxy == (12, 13, 18, 17) and len(regions[0].polygons) == 1
    assert [one.text for one in regions[0].expressions] == ["the long cell"]


def test_a_graph_has_keypoints_in_the_order_of_its_class(tmp_path: Path) -> None:
    nodes = {"n2": {"loc": [9, 8], "disabled": True}, "n1": {"loc": [3, 4]}}
    regions, problems = regions_of(
        tmp_path, thing("graph", "hand", nodes=nodes), thing("graph", "hand", nodes={"n1": {"loc": [5, 6]}})
    )
    assert problems == [] and regions[0].keypoints == ((3, 4, 2), (9, 8, 1))
    assert regions[1].keypoints == ((5, 6, 2), (0, 0, 0))
    schema = opened(READER, tmp_path).keypoints["hand"]
    assert (schema.names, schema.skeleton) == (("wrist", "thumb"), ((0, 1),))


def test_data_sets_or_tags_name_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write(tmp_path / "folders", dataset=split)
        write(tmp_path / "tags", dataset=f"ds {split}s", tags=(split,))
    for root in (tmp_path / "folders", tmp_path / "tags"):
        assert sorted(record.split for record in read(READER, root)[0]) == ["test", "train", "val"]


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (thing("line", points=points((1, 1), (2, 2))), "object 1: a line is no object"),
        (thing("point"), "a point is no object"),
        (thing("rectangle", ""), "a rectangle without a class"),
        (thing("rectangle"), "points is missing"),
        (thing("polygon", points=points((1, 1), (2, 2))), "a polygon of 2 points"),
        (thing("star"), "unknown geometry star"),
        (thing("bitmap", bitmap={"data": "AAAA", "origin": [1, 1]}), "cannot be unpacked"),
        (
            thing("bitmap", bitmap={"data": base64.b64encode(zlib.compress(b"x")).decode(), "origin": [1, 1]}),
            "no picture",
        ),
    ],
)
def test_what_is_no_object_is_told(tmp_path: Path, one: dict[str, Any], message: str) -> None:
    regions, (problem,) = regions_of(tmp_path, one, thing("polygon", points=points((1, 1), (9, 1), (9, 9))))
    assert message in problem and len(regions) == 1


def test_a_broken_file_loses_nothing_else(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "ds0" / "ann" / "b.png.json").write_text("{")
    records, (problem,) = read(READER, tmp_path)
    assert len(records) == 1 and "b.png.json: not readable as JSON" in problem


def test_a_project_is_recognised_from_above_too(tmp_path: Path) -> None:
    root = write(tmp_path / "project")
    for path in (root, tmp_path, root / "meta.json"):
        recipe, folder = find_recipe("auto", path, PROJECT)
        assert (recipe.title, folder) == ("Supervisely", root)
    (root / "meta.json").write_text('{"classes": [3]}')
    with pytest.raises(VilamError, match="expected Supervisely's classes"):
        opened(READER, root)
