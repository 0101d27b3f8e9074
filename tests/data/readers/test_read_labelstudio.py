"""Label Studio: per cents, turned rectangles, brushes, one of several annotations, texts, keypoints, uploads."""

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
from vilam.data.readers.brush import brush_to_mask
from vilam.errors import VilamError

READER = {"kind": "labelstudio"}
SIZE = {"original_width": 40, "original_height": 20, "image_rotation": 0}
NAME = "0a1b2c3d-a b.png"


def result(value: dict[str, Any], kind: str = "rectanglelabels", **more: Any) -> dict[str, Any]:
    return {"id": "r1", "from_name": "label", "to_name": "image", "type": kind, **SIZE, "value": value, **more}


def box(x: float, y: float, w: float, h: float, *labels: str, rotation: float = 0, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": rotation, "rectanglelabels": list(labels or ["cup"])}
    return result(value, **more)


def annotation(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": 1, "completed_by": 1, "was_cancelled": False, "ground_truth": False, "result": [*results], **more}


def task(*annotations: dict[str, Any], image: Any = f"/data/upload/1/{NAME}", **more: Any) -> dict[str, Any]:
    return {"id": 7, "annotations": [*annotations], "file_upload": NAME, "data": {"image": image}, **more}


def write(root: Path, content: object, picture: str | None = f"upload/{NAME}") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    if picture is not None:
        write_image(root / picture, (40, 20))
    (root / "project-1-at-2026.json").write_text(json.dumps(content))
    return root


def regions_of(root: Path, *results: dict[str, Any]) -> tuple[list[Any], list[str]]:
    (record,), problems = read(READER, write(root, [task(annotation(*results))]))
    return list(record.regions), problems


def packed(values: list[int], sizes: tuple[int, ...] = (3, 4, 8, 16)) -> list[int]:
    """Values as Label Studio's run lengths: single values as literal runs, others as repeated ones."""
    text = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    start = 0
    while start < len(values):
        end = start
        while end < len(values) and values[end] == values[start] and end - start < 1 << sizes[3]:
            end += 1
        which = next(number for number, size in enumerate(sizes) if end - start <= 1 << size)
        text += f"{int(end - start > 1)}{which:02b}{end - start - 1:0{sizes[which]}b}{values[start]:08b}"
        start = end
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def test_per_cents_of_the_sides(tmp_path: Path) -> None:
    ring = result({"points": [[0, 0], [50, 0], [50, 50]], "closed": True, "polygonlabels": ["cup"]}, id="r2")
    oval = result({"x": 50, "y": 50, "radiusX": 25, "radiusY": 25, "rotation": 90, "ellipselabels": ["cup"]}, id="r3")
    regions, problems = regions_of(tmp_path, box(25, 10, 50, 40), ring, oval)
    assert problems == [] and regions[0].box_xyxy == (10, 2, 30, 10)
    assert regions[1].polygons == (((0, 0), (20, 0), (20, 10)),)
    assert regions[2].box_xyxy == pytest.approx((15, 0, 25, 20))  # radii of 10 and 5 pixels, turned by 90 degrees


def test_a_rectangle_turns_about_its_upper_left_corner_in_pixels(tmp_path: Path) -> None:
    (region,), _ = regions_of(tmp_path, box(50, 20, 25, 10, rotation=90))  # 10 x 2 pixels at (20, 4)
    assert region.box_xyxy == pytest.approx((18, 4, 20, 14))


@given(st.lists(st.sampled_from([0, 0, 0, 255, 255, 90]), min_size=6, max_size=60), st.integers(1, 6))
def test_a_brush_is_decoded(alphas: list[int], height: int) -> None:
    width = len(alphas) // height or 1
    alphas = (alphas * 6)[: width * height]
    values = [value for alpha in alphas for value in (12, 12, 12, alpha)]
    mask = brush_to_mask(packed(values), width, height)
    assert mask.reshape(-1).tolist() == [alpha > max(alphas) // 2 for alpha in alphas]


def test_a_brush_and_a_bitmask_are_outlined(tmp_path: Path) -> None:
    mask = np.zeros((20, 40), np.uint8)
    mask[5:15, 10:30] = 255
    values = np.repeat(mask.reshape(-1), 4).tolist()
    file = BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    address = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    regions, problems = regions_of(
        tmp_path,
        result({"format": "rle", "rle": packed(values), "brushlabels": ["cup"]}, "brushlabels"),
        result({"imageDataURL": address, "bitmasklabels": ["cup"]}, "bitmasklabels", id="r2"),
    )
    assert problems == [] and [region.box_xyxy for region in regions] == [(10, 5, 30, 15)] * 2
    assert all(len(region.polygons) == 1 for region in regions)


def test_one_annotation_of_several_counts(tmp_path: Path) -> None:
    old = annotation(box(0, 0, 10, 10), created_at="2026-01-01T10:00:00Z")
    new = annotation(box(50, 0, 10, 10), created_at="2026-01-02T10:00:00Z")
    cancelled = annotation(box(0, 50, 10, 10), created_at="2026-01-03T10:00:00Z", was_cancelled=True)
    for number, (several, left) in enumerate([((new, old, cancelled), 20), ((new, {**old, "ground_truth": True}), 0)]):
        (record,), _ = read(
            READER, write(tmp_path / str(number), [task(*several, predictions=[annotation(box(9, 9, 9, 9))])])
        )
        assert [region.box_xyxy[0] for region in record.regions] == [left]


def test_a_task_that_nobody_has_done_is_no_record(tmp_path: Path) -> None:
    write_image(tmp_path / "b.png", (40, 20))
    tasks = [task(annotation()), task(image="b.png"), task(annotation(was_cancelled=True), image="b.png")]
    (record,), problems = read(READER, write(tmp_path, tasks))
    assert problems == [] and record.image_id.endswith("a b") and record.regions == ()


def test_results_of_one_id_are_one_region(tmp_path: Path) -> None:
    plain = result({"x": 0, "y": 0, "width": 50, "height": 50, "rotation": 0}, "rectangle")
    label = result({"x": 0, "y": 0, "width": 50, "height": 50, "labels": ["cup"]}, "labels")
    text = result({"x": 0, "y": 0, "width": 50, "height": 50, "text": ["the left one"]}, "textarea", from_name="words")
    read_off = result(
        {"x": 0, "y": 0, "width": 50, "height": 50, "text": ["B4"]}, "textarea", from_name="transcription"
    )
    choice = result({"choices": ["old"]}, "choices", id="r9")
    (region,), problems = regions_of(tmp_path, plain, label, text, read_off, choice)
    assert problems == [] and region.category == "cup" and [one.text for one in region.expressions] == ["the left one"]


def test_a_text_alone_is_a_caption(tmp_path: Path) -> None:
    text = result({"text": ["a table"]}, "textarea", id="r2", from_name="caption")
    (record,), _ = read(READER, write(tmp_path, [task(annotation(box(0, 0, 50, 50), text))]))
    assert record.captions == ("a table",)


def test_keypoints_belong_to_their_parent(tmp_path: Path) -> None:
    def point(x: float, name: str, **more: Any) -> dict[str, Any]:
        return result({"x": x, "y": 50, "width": 1, "keypointlabels": [name]}, "keypointlabels", id=name, **more)

    results = [box(0, 0, 50, 100), point(10, "lip", parentID="r1"), point(20, "ear", parentID="r1"), point(90, "lip2")]
    regions, (problem,) = regions_of(tmp_path, *results)
    assert regions[0].keypoints == ((4, 10, 2), (8, 10, 2)) and "a keypoint that belongs to no region" in problem
    assert opened(READER, tmp_path).keypoints["cup"].names == ("lip", "ear")


@pytest.mark.parametrize(
    "address",
    [
        "/data/upload/1/0a1b2c3d-a%20b.png",
        "/data/local-files/?d=sets/cups/0a1b2c3d-a%20b.png",
        "s3://bucket/cups/0a1b2c3d-a b.png",
        "https://host/cups/0a1b2c3d-a%20b.png?X-Amz-Signature=1&b=2",
        "/tasks/3/resolve/?fileuri=" + base64.b64encode(b"s3://bucket/0a1b2c3d-a b.png").decode(),
        "C:\\cups\\0a1b2c3d-a b.png",
    ],
)
def test_the_picture_is_found_by_its_name(tmp_path: Path, address: str) -> None:
    (record,), problems = read(READER, write(tmp_path, [task(annotation(), image=address)]))
    assert problems == [] and record.image_id == "upload/0a1b2c3d-a b"


def test_the_picture_may_have_its_name_before_the_upload(tmp_path: Path) -> None:
    (record,), problems = read(READER, write(tmp_path, [task(annotation())], "photos/a b.png"))
    assert problems == [] and record.image_id == "photos/a b"


@pytest.mark.parametrize("own", ["photo 1.png", "photo (1).png", "photo_1.png"])
def test_a_picture_is_found_whose_name_the_upload_changed(tmp_path: Path, own: str) -> None:
    address = "/data/upload/1/0a1b2c3d-photo_1.png"  # get_valid_filename(own) of Django 5.2
    write_image(tmp_path / "photos" / "photo_2.png")
    (record,), problems = read(READER, write(tmp_path, [task(annotation(), image=address)], f"photos/{own}"))
    assert problems == [] and record.image_id == f"photos/{own.removesuffix('.png')}"


def test_a_picture_in_the_task_is_read(tmp_path: Path) -> None:
    picture = base64.b64encode(write_image(tmp_path / "a.png", (40, 20)).read_bytes()).decode()
    content = [task(annotation(box(0, 0, 50, 50)), image=f"data:image/png;base64,{picture}")]
    (record,), problems = read(READER, write(tmp_path, content, None))
    assert problems == [] and (record.width, len(record.regions)) == (40, 1)


def test_several_pictures_of_a_task_have_their_own_regions(tmp_path: Path) -> None:
    for name in ("l.png", "r.png"):
        write_image(tmp_path / name, (40, 20))
    one = task(annotation(box(0, 0, 50, 50, to_name="right")))
    one["data"] = {"left": "l.png", "right": "r.png", "title": "cups"}
    records, problems = read(READER, write(tmp_path, [one], None))
    assert problems == [] and {record.image_id: len(record.regions) for record in records} == {"l": 0, "r": 1}


def test_a_picture_that_was_made_smaller_keeps_its_per_cents(tmp_path: Path) -> None:
    big = {"original_width": 400, "original_height": 200}
    regions, problems = regions_of(tmp_path, {**box(25, 10, 50, 40), **big})
    assert problems == [] and regions[0].box_xyxy == (10, 2, 30, 10)


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (box(0, 0, 50, 50, image_rotation=90), "the picture was turned by 90 degrees"),
        (result({"x": 0, "y": 0, "width": 5, "height": 5}), "a region without a label"),
        (result({"points": [[0, 0], [9, 9]], "polygonlabels": ["cup"]}), "an open line of 2 points"),
        (result({"x": 0, "y": 0, "radiusX": 3, "ellipselabels": ["cup"]}), "radiusY is missing"),
        (result({"rle": [0, 0, 0], "brushlabels": ["cup"]}), "run lengths that end early"),
        (result({"rle": packed([0] * 8), "brushlabels": ["cup"]}), "run lengths of 2 pixels for a 40x20 mask"),
        (result({"sequence": [], "videorectangle": 1, "labels": ["cup"]}), "unknown kind of region"),
    ],
)
def test_what_is_no_object_is_told(tmp_path: Path, one: dict[str, Any], message: str) -> None:
    regions, (problem,) = regions_of(tmp_path, one, box(0, 0, 50, 50, id="r2"))
    assert message in problem and len(regions) == 1


def test_the_small_export_is_read(tmp_path: Path) -> None:
    def row(x: float, **more: Any) -> dict[str, Any]:
        value = {"x": x, "y": 0, "width": 10, "height": 10, "rotation": 0, "rectanglelabels": ["cup"], **SIZE}
        base = {"image": NAME, "id": 1, "label": [value], "annotator": 1, "annotation_id": 5, "lead_time": 1.5}
        return {**base, "created_at": "2026-01-01", **more}

    write_image(tmp_path / "b.png", (40, 20))
    undone = {"image": "b.png", "id": 2, "annotator": 1, "annotation_id": None, "created_at": None, "lead_time": None}
    rows = [row(50, created_at="2026-01-02"), row(0), undone]
    (record,), problems = read(READER, write(tmp_path, rows, NAME))
    assert problems == [] and record.regions[0].box_xyxy == (20, 0, 24, 2)


def test_a_file_of_a_target_storage_is_read(tmp_path: Path) -> None:
    stored = {**annotation(box(0, 0, 50, 50)), "task": {"id": 3, "data": {"image": NAME}}}
    assert len(read(READER, write(tmp_path, stored, NAME))[0][0].regions) == 1


def test_a_folder_or_the_file_is_recognised(tmp_path: Path) -> None:
    root = write(tmp_path, [task(annotation(box(0, 0, 50, 50)))])
    for path in (root, root / "project-1-at-2026.json"):
        recipe, folder = find_recipe("auto", path, PROJECT)
        assert (recipe.title, folder) == ("Label Studio JSON", root) and recipe.reader.kind == "labelstudio"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"completed_by": "from_name", "to_name": ', "not readable as JSON"),
        ('["completed_by", "from_name", "to_name"]', "task 1: expected an object"),
        ('[{"completed_by": "from_name", "to_name": ' + "[" * 100_000, "not readable as JSON"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(VilamError, match=message) as error:
        opened({**READER, "files": {"all": "a.json"}}, tmp_path)
    assert "\n" not in str(error.value)


def test_predictions_alone_are_refused(tmp_path: Path) -> None:
    root = write(tmp_path, [task(predictions=[annotation(box(0, 0, 50, 50))])])
    with pytest.raises(VilamError, match="no task has been annotated; predictions are not read"):
        read(READER, root)


def test_the_split_among_the_data_of_a_task(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name, split in (("a", "train"), ("b", "val"), ("c", "testA")):
        write_image(tmp_path / "images" / f"{name}.png")
        task = {"annotations": [{"result": [], "was_cancelled": False}], "total_annotations": 1, "inner_id": 1}
        (tmp_path / f"{name}.json").write_text(json.dumps([{**task, "data": {"image": f"{name}.png", "split": split}}]))
    records, problems = read({"kind": "labelstudio"}, tmp_path)
    assert problems == [] and {one.image_id[-1]: one.split for one in records} == {
        "a": "train",
        "b": "val",
        "c": "testA",
    }
