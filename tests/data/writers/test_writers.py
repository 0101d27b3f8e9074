"""Data sets that were written for other tools are read back with the same regions, categories and words."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from reading import PROJECT

from vilam.data.readers import find_recipe, open_files
from vilam.data.readers.source import RawRecord
from vilam.data.records import DatasetCard, Expression, Group, ImageRecord, Keypoint, KeypointSchema, Region
from vilam.data.writers import WRITERS

SIZE = (160, 90)
SPLITS = ("train", "val", "test")
CATEGORIES = ("red fox", 'owl "snowy"', "hare", "Bär & co")
CARD = DatasetCard("set", CATEGORIES, {}, SPLITS, ("CC0",), {})
WORDS = st.text(alphabet="abcdefgh' äß-", min_size=1, max_size=12).map(lambda text: " ".join(f"the {text} one".split()))


def picture(colour: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", SIZE, (colour, 0, 0)).save(file, "PNG")
    return file.getvalue()


def corner(first: float, last: float, limit: int) -> st.SearchStrategy[tuple[float, float]]:
    low = st.floats(first, last, width=32).map(lambda value: round(value, 3))
    return st.tuples(low, st.floats(5, limit - last).map(lambda value: round(value, 3))).map(
        lambda p: (p[0], p[0] + p[1])
    )


@st.composite
def regions(draw: st.DrawFn, with_outlines: bool = False) -> list[Region]:
    """Regions of one picture, none in the same place as another, with expressions that no other has."""
    boxes = draw(st.lists(st.tuples(corner(0, 100, SIZE[0]), corner(0, 60, SIZE[1])), max_size=4, unique=True))
    texts = draw(st.lists(WORDS, min_size=4, max_size=4, unique_by=str.casefold))
    found = []
    for number, ((x1, x2), (y1, y2)) in enumerate(boxes):
        ring = ((x1, y1), (x2, y1), (x2, y2), (x1, (y1 + y2) / 2))
        said = (Expression(texts[number]),) if draw(st.booleans()) else ()
        outline = (ring,) if with_outlines and draw(st.booleans()) else ()
        name = draw(st.sampled_from(CATEGORIES))
        found.append(Region(f"r{number}", (x1, y1, x2, y2), name, outline, (), said))
    return found


@st.composite
def data_sets(draw: st.DrawFn, with_outlines: bool = False) -> list[ImageRecord]:
    records = []
    for number, split in enumerate(SPLITS):
        own = tuple(draw(regions(with_outlines)))
        ids = tuple(region.region_id for region in own)
        groups = [Group("g1", "all of them", ids)] if len(ids) > 1 and draw(st.booleans()) else []
        groups += [Group("g2", "a unicorn", ())] if draw(st.booleans()) else []
        name = f"a/{split}/b c"
        record = ImageRecord(name, split, picture(number), *SIZE, "set", "CC0", (), own, tuple(groups))
        records.append(replace(record, groups=(*groups, Group("g3", "hare", (), "class"))))
    return records


def write(name: str, folder: Path, records: list[ImageRecord], card: DatasetCard = CARD) -> None:
    def of_split(split: str) -> Iterator[ImageRecord]:
        return (record for record in records if record.split == split)

    WRITERS[name](card, of_split, folder)


def read_back(folder: Path) -> dict[bytes, ImageRecord]:
    """The records by their pictures, without a problem."""
    recipe, root = find_recipe("auto", folder, PROJECT)
    rows = list(open_files(recipe, root).rows)
    assert all(isinstance(row, RawRecord) for row in rows), rows
    return {row.record.image: row.record for row in rows if isinstance(row, RawRecord)}


def objects(record: ImageRecord) -> list[tuple[Any, ...]]:
    """Boxes to a thousandth of a pixel, with categories and expressions, in one order."""
    return sorted(
        (
            *(round(value, 2) for value in region.box_xyxy),
            region.category,
            sorted(one.text for one in region.expressions),
        )
        for region in record.regions
    )


def same(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one[:4] == pytest.approx(other[:4], abs=0.011) and one[4:] == other[4:]


def said(record: ImageRecord, with_none: bool) -> set[tuple[str, tuple[tuple[float, ...], ...]]]:
    """The words of groups with the boxes that they mean."""
    return {
        (group.text, tuple(sorted(region.box_xyxy for region in record.members(group))))
        for group in record.groups
        if group.kind != "class" and (group.region_ids or with_none)
    }


quick = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", ["ms_swift", "odvg"])
def test_regions_categories_and_words_are_the_same(name: str) -> None:
    @quick
    @given(data_sets())
    def check(records: list[ImageRecord]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write(name, Path(folder), records)
            found = read_back(Path(folder))
            for record in records:
                again = found[record.image]
                assert again.split == record.split and again.captions == ()
                same(objects(again), objects(record))
                assert said(again, True) == said(record, name == "ms_swift")

    check()


@quick
@given(data_sets(with_outlines=True))
def test_yolo_keeps_regions_and_categories(records: list[ImageRecord]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write("yolo", Path(folder), records)
        found = read_back(Path(folder))
    for record in records:
        again = found[record.image]
        plain = replace(record, regions=tuple(replace(region, expressions=()) for region in record.regions))
        assert again.split == record.split
        same(objects(again), objects(plain))
        rings = {region.polygons[0] for region in record.regions if region.polygons}
        close = [[tuple(round(v, 2) for v in point) for point in ring] for ring in rings]
        kept = [
            [tuple(round(v, 2) for v in point) for point in region.polygons[0]] for region in again.regions if rings
        ]
        assert len(kept) == (len(record.regions) if rings else 0)
        for ring in close:
            assert any(
                len(ring) == len(other)
                and all(p == pytest.approx(q, abs=0.011) for p, q in zip(ring, other, strict=True))
                for other in kept
            )


def one_record(*own: Region, split: str = "train", image_id: str = "a") -> ImageRecord:
    return ImageRecord(image_id, split, picture(7), *SIZE, "set", "CC0", (), own)


RING = ((16.0, 9.0), (80.0, 9.0), (80.0, 45.0))
PART = ((112.0, 9.0), (144.0, 9.0), (144.0, 45.0))
BOX = Region("r1", (16.0, 9.0, 80.0, 45.0), "hare", expressions=(Expression("the hare"), Expression("left hare")))


def test_a_yolo_file_is_all_boxes_or_all_outlines(tmp_path: Path) -> None:
    outlined = Region("r2", (16.0, 9.0, 144.0, 45.0), "red fox", (RING, PART))
    write("yolo", tmp_path, [one_record(BOX), one_record(BOX, outlined, image_id="b")])
    assert (tmp_path / "labels" / "train" / "a.txt").read_text() == "2 0.3 0.3 0.4 0.4\n"
    first, second = (tmp_path / "labels" / "train" / "b.txt").read_text().splitlines()
    assert first == "2 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5"
    assert second == "0 0.1 0.1 0.5 0.1 0.7 0.1 0.9 0.1 0.9 0.5 0.7 0.1 0.5 0.1 0.5 0.5"


def test_yolo_names_folders_and_other_splits_are_tests(tmp_path: Path) -> None:
    card = replace(CARD, splits=("train", "val", "testA", "testB"))
    write("yolo", tmp_path, [one_record(split=split) for split in card.splits], card)
    content = yaml.safe_load((tmp_path / "data.yaml").read_text(encoding="utf-8"))
    assert content["train"] == "images/train" and content["test"] == ["images/testA", "images/testB"]
    assert content["names"] == dict(enumerate(CATEGORIES))


def test_names_of_images_are_safe_and_differ(tmp_path: Path) -> None:
    ids = ["../x", "x", "X", "a/b", "a b", "ä", "y" * 300]
    write("yolo", tmp_path, [one_record(image_id=image_id) for image_id in ids])
    names = sorted(path.name for path in (tmp_path / "images" / "train").iterdir())
    assert len(names) == len(ids) and len({name.lower() for name in names}) == len(ids)
    assert {path.name for path in tmp_path.iterdir()} == {"images", "labels", "data.yaml"}


def test_odvg_phrases_are_where_the_caption_has_them(tmp_path: Path) -> None:
    other = Region("r2", (90.0, 9.0, 100.0, 45.0), "hare")
    record = replace(one_record(BOX, other), groups=(Group("g", "both hares", ("r1", "r2")),))
    write("odvg", tmp_path, [record])
    row = json.loads((tmp_path / "train_vg.jsonl").read_text())
    caption = row["grounding"]["caption"]
    assert caption == "the hare . left hare . both hares ."
    for region in row["grounding"]["regions"]:
        ((start, end),) = region["tokens_positive"]
        assert caption[start:end] == region["phrase"]
    assert [region["bbox"][0] for region in row["grounding"]["regions"]] == [16.0, 16.0, 16.0, 90.0]
    assert row["filename"] == "train/a.png" and (tmp_path / "images" / row["filename"]).read_bytes() == record.image


def test_every_place_of_ms_swift_is_filled(tmp_path: Path) -> None:
    record = replace(one_record(BOX), groups=(Group("g", "a unicorn", ()),))
    write("ms_swift", tmp_path, [record, one_record(image_id="empty")])
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert len(rows) == 5
    for row in rows:
        text = "".join(message["content"] for message in row["messages"])
        assert text.count("<bbox>") == len(row["objects"]["bbox"])
        assert text.count("<ref-object>") == len(row["objects"]["ref"])
        assert (tmp_path / row["images"][0]).is_file()
    assert [row["messages"][1]["content"] for row in rows[1:4]] == ["<bbox>", "<bbox>", "[]"]


def test_label_studio_counts_per_cents(tmp_path: Path) -> None:
    outlined = Region("r2", (16.0, 9.0, 80.0, 45.0), "red fox", (RING,))
    write("labelstudio", tmp_path, [one_record(BOX, outlined)])
    (task,) = json.loads((tmp_path / "train.json").read_text())
    assert task["data"] == {"image": "/data/local-files/?d=images/train/a.png", "split": "train"}
    box, texts, outline = task["annotations"][0]["result"]
    place = {"x": 10, "y": 10, "width": 40, "height": 40, "rotation": 0}
    assert {key: box["value"][key] for key in place} == pytest.approx(place)
    assert box["value"]["rectanglelabels"] == ["hare"] and (box["original_width"], box["original_height"]) == SIZE
    assert texts["id"] == box["id"] and texts["value"]["text"] == ["the hare", "left hare"]
    assert outline["value"]["points"] == [pytest.approx(point) for point in ([10, 10], [50, 10], [50, 50])]
    config = (tmp_path / "config.xml").read_text(encoding="utf-8")
    assert '<Label value="Bär &amp; co"/>' in config and "<Label value='owl \"snowy\"'/>" in config


@quick
@given(data_sets(with_outlines=True))
def test_label_studio_is_read_back(records: list[ImageRecord]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write("labelstudio", Path(folder), records)
        found = read_back(Path(folder))
    for record in records:
        same(objects(found[record.image]), objects(record))


POSE = KeypointSchema.without_sigmas(("nose", "tail"), ((0, 1),))
POINTS: tuple[Keypoint, ...] = ((20.0, 30.0, 2), (100.5, 80.25, 1))


def posed() -> list[ImageRecord]:
    """In every split a fox with keypoints, and a hare with an outline."""
    box, ring = (10.0, 20.0, 110.0, 85.0), ((1.0, 2.0), (9.0, 2.0), (9.0, 8.0))
    fox = Region("fox", box, "red fox", (), POINTS)
    hare = Region("hare", (1.0, 2.0, 9.0, 8.0), "hare", (ring,))
    facts = *SIZE, "set", "CC0", (), (fox, hare)
    return [ImageRecord(split, split, picture(number), *facts) for number, split in enumerate(SPLITS)]


def test_yolo_keypoints(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write("yolo", tmp_path, posed(), replace(CARD, keypoints={"red fox": POSE}))
    content = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert content["kpt_shape"] == [2, 3] and content["kpt_names"][0] == ["nose", "tail"]
    for path in tmp_path.glob("labels/*/*.txt"):
        fox, hare = (line.split() for line in path.read_text().splitlines())
        assert len(fox) == len(hare) == 5 + 2 * 3  # Ultralytics takes no other number of columns
        assert [float(one) for one in fox[5:]] == pytest.approx([20 / 160, 30 / 90, 2, 100.5 / 160, 80.25 / 90, 1])
        assert [float(one) for one in hare[5:]] == [0] * 6
    for record in read_back(tmp_path).values():
        found = {region.category: region for region in record.regions}
        assert found["hare"].keypoints == () and found["hare"].box_xyxy == pytest.approx((1, 2, 9, 8), abs=1e-4)
        assert found["red fox"].box_xyxy == pytest.approx((10, 20, 110, 85), abs=1e-4)
        assert [value for point in found["red fox"].keypoints for value in point] == pytest.approx(
            [value for point in POINTS for value in point], abs=1e-4
        )
    assert caplog.text.count("boxes with keypoints, which Ultralytics trains without outlines") == 1


def test_keypoints_of_several_kinds_are_left_out_of_yolo(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = KeypointSchema.without_sigmas(("ear",))
    write("yolo", tmp_path, posed(), replace(CARD, keypoints={"red fox": POSE, "hare": other}))
    assert "kpt_shape" not in yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert "one kind of them for all classes: red fox has 2, hare has 1" in caplog.text
    assert all(any(region.polygons for region in record.regions) for record in read_back(tmp_path).values())
