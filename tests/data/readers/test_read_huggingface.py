"""Hugging Face: metadata files, Parquet with pictures, names of classes, the order of a box's numbers."""

from __future__ import annotations

import csv
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from reading import PROJECT, opened, read, write_image

from vilam.data.readers import find_recipe
from vilam.data.readers.box_order import TO_XYXY, BoxOrder, box_order
from vilam.errors import VilamError

READER = {"kind": "huggingface"}
WIDE = [[20.0, 10.0, 8.0, 6.0], [2.0, 3.0, 30.0, 20.0]]
"""Boxes as x, y, width, height: the first cannot be corners."""


def row(name: str = "a.png", boxes: list[list[float]] | None = None, **columns: Any) -> dict[str, Any]:
    own = WIDE if boxes is None else boxes
    return {"file_name": name, "objects": {"bbox": own, **(columns or {"categories": ["ring"] * len(own)})}}


def write(root: Path, *rows: dict[str, Any]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for one in rows:
        write_image(root / one["file_name"])
    (root / "metadata.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return root


def content(colour: int = 0) -> bytes:
    file = BytesIO()
    Image.new("RGB", (40, 30), (colour, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write_parquet(path: Path, rows: list[dict[str, Any]], names: list[str] | None = None, per_group: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    feature = {"_type": "ClassLabel", "names": names}
    features = {"label": {"_type": "ClassLabel", "names": ["no"]}, "objects": {"feature": {"category": feature}}}
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(told if names else None), path, row_group_size=per_group)
    return path


def test_a_picture_has_its_boxes_and_may_have_none(tmp_path: Path) -> None:
    empty = row("b.png", [], categories=[])
    records, problems = read(READER, write(tmp_path, {**row(), "text": "two rings"}, empty))
    assert problems == [] and [len(record.regions) for record in records] in ([2, 0], [0, 2])
    (own,) = (record for record in records if record.image_id == "a")
    assert own.regions[0].box_xyxy == (20, 10, 28, 16) and own.captions == ("two rings",)


@pytest.mark.parametrize(
    "objects",
    [
        [{"bbox": WIDE[0], "category": "ring"}, {"bbox": WIDE[1], "category": "ring"}],
        {"boxes": WIDE, "label": ["ring", "ring"], "id": [1, 2]},
        {"bbox": WIDE, "category_id": [0, 0], "category_name": ["ring", "ring"], "area": [1.0, 2.0]},
    ],
)
def test_ways_to_write_objects(tmp_path: Path, objects: Any) -> None:
    (record,), problems = read(READER, write(tmp_path, {"file_name": "a.png", "objects": objects}))
    assert problems == [] and [region.category for region in record.regions] == ["ring", "ring"]


def test_a_csv_file_holds_objects_as_json(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "a.png")
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerows([["file_name", "objects"], ["train/a.png", json.dumps(row()["objects"])]])
    assert len(read(READER, tmp_path)[0][0].regions) == 2


def test_splits_are_folders(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        write(tmp_path / "many" / split, row())
    write(tmp_path / "one", *(row(f"{split}/a.png") for split in ("train", "valid", "test")))
    for root in (tmp_path / "many", tmp_path / "one"):
        assert [record.split for record in read(READER, root)[0]] == ["train", "val", "test"]


def test_parquet_holds_pictures_and_names(tmp_path: Path) -> None:
    for split in ("train", "test"):
        rows = [
            {"image": {"bytes": content(shade), "path": "0.jpg"}, "objects": {"bbox": WIDE, "category": [1, 0]}}
            for shade in (10, 90, 170)
        ]
        write_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet", rows, ["watch", "ring"])
    records, problems = read(READER, tmp_path)
    assert problems == [] and len({record.image_id for record in records}) == 6
    assert [region.category for region in records[0].regions] == ["ring", "watch"]
    assert {Image.open(BytesIO(record.image)).getpixel((0, 0))[0] for record in records} == {10, 90, 170}  # type: ignore[index]
    assert [record.split for record in records if record.split == "test"] == ["test"] * 3
    assert find_recipe("auto", tmp_path, PROJECT)[0].title == "Hugging Face Parquet"


def test_names_of_numbers_are_in_the_card(tmp_path: Path) -> None:
    root = write(tmp_path, row(category=[1, 0]))
    with pytest.raises(VilamError, match="category 1 has no name"):
        opened(READER, root)
    (root / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: objects\n    sequence:\n"
        "    - name: bbox\n      sequence: float32\n    - name: category\n      dtype:\n        class_label:\n"
        "          names:\n            '0': watch\n            '1': ring\n---\nA set.\n"
    )
    assert [region.category for region in read(READER, root)[0][0].regions] == ["ring", "watch"]


def test_corners_and_fractions_are_told_from_the_numbers(tmp_path: Path) -> None:
    corners = [[20.0, 10.0, 38.0, 29.0], [2.0, 3.0, 30.0, 20.0]]
    (record,), _ = read(READER, write(tmp_path / "1", row(boxes=corners)))
    assert record.regions[0].box_xyxy == (20, 10, 38, 29)
    (record,), _ = read(READER, write(tmp_path / "2", row(boxes=[[0.5, 0.1, 0.25, 0.5]], categories=["ring"])))
    assert record.regions[0].box_xyxy == pytest.approx((20, 3, 30, 18))


@given(st.sampled_from(list(TO_XYXY)), st.lists(st.tuples(*[st.floats(0.05, 0.95)] * 4), min_size=1, max_size=9))
def test_boxes_lie_in_their_pictures_in_the_order_that_is_told(order: BoxOrder, drawn: list[tuple[float, ...]]) -> None:
    found = []
    for a, b, c, d in drawn:
        x1, x2, y1, y2 = min(a, b) * 100, max(a, b) * 100 + 1, min(c, d) * 80, max(c, d) * 80 + 1
        own = {"xywh": (x1, y1, x2 - x1, y2 - y1), "xyxy": (x1, y1, x2, y2)}
        centre = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        found.append((own.get(order, centre), (100.0, 80.0)))
    told = TO_XYXY[box_order(found, "a set")]
    for box, _ in found:
        x1, y1, x2, y2 = told(box)
        assert x1 < x2 <= 101.01 and y1 < y2 <= 80.81


def test_boxes_of_no_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match="neither x, y, width, height nor corners"):
        opened(READER, write(tmp_path, row(boxes=[[900.0, 20.0, 500.0, 10.0]], categories=["ring"])))


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"bbox": [[1.0, 2.0, 3.0]], "category": ["ring"]}, "not enough values"),
        ({"bbox": [[1.0, 2.0, 3.0, 4.0]], "category": []}, "a box without a category"),
        ("{", "cannot be read"),
    ],
)
def test_a_bad_row_is_a_problem(tmp_path: Path, objects: Any, message: str) -> None:
    records, (problem,) = read(READER, write(tmp_path, row(), {"file_name": "b.png", "objects": objects}))
    assert message in problem and "metadata.jsonl: row 2" in problem and len(records) == 1


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    root = write(tmp_path, row())
    for path in (root, root / "metadata.jsonl"):
        recipe, folder = find_recipe("auto", path, PROJECT)
        assert (recipe.title, folder) == ("Hugging Face ImageFolder", root)
    with (root / "metadata.jsonl").open("a") as file:
        file.write("{\n")
    with pytest.raises(VilamError, match=r"metadata\.jsonl: cannot be read") as error:
        opened(READER, root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("with_size", [True, False])
def test_boxes_of_stored_pixels_lie_on_the_turned_picture(tmp_path: Path, with_size: bool) -> None:
    told = {"width": 40, "height": 30} if with_size else {}
    boxes = [[20.0, 10.0, 8.0, 6.0], [32.0, 2.0, 8.0, 5.0]]
    write(tmp_path, {**row(boxes=boxes), **told})
    exif = Image.Exif()
    exif[0x0112] = 6  # the right side is shown below
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png", exif=exif)
    (record,), problems = read(READER, tmp_path)
    assert problems == [] and (record.width, record.height) == (30, 40)
    assert [region.box_xyxy for region in record.regions] == [(14, 20, 20, 28), (23, 32, 28, 40)]


def test_parquet_may_name_pictures_that_lie_in_files(tmp_path: Path) -> None:
    """As Dataset.to_parquet writes pictures that were not embedded: without content, with paths of the writer."""
    write_image(tmp_path / "images" / "a.png")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    image = pa.array([{"bytes": None, "path": "/home/somebody/images/a.png"}], kind)
    table = pa.table({"image": image, "objects": [{"bbox": WIDE, "category": ["ring", "ring"]}]})
    pq.write_table(table, tmp_path / "train.parquet")
    (record,), problems = read(READER, tmp_path)
    assert problems == [] and record.image_id == "images/a"
    assert [region.box_xyxy for region in record.regions] == [(20, 10, 28, 16), (2, 3, 32, 23)]


@pytest.mark.parametrize("objects", [{"bbox": WIDE}, [{"bbox": box} for box in WIDE]])
def test_boxes_without_a_column_of_categories_are_of_one_category(tmp_path: Path, objects: Any) -> None:
    (record,), problems = read(READER, write(tmp_path, {"file_name": "a.png", "objects": objects}))
    assert problems == [] and [region.category for region in record.regions] == ["object", "object"]
