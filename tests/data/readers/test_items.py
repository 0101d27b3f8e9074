"""What all formats share: pictures turned upright with their coordinates, outlines, ids, lost parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask
from reading import recipe, write_image

from vilam.data.readers.items import Item, Listing, Shape, Words, source_of
from vilam.data.readers.source import ALL, Problem, RawRecord
from vilam.data.records import ImageRecord, KeypointSchema

SIZE = (60, 40)
"""Of the stored pixels."""


def records(*items: Item, categories: tuple[str, ...] = ("cell",)) -> tuple[list[ImageRecord], list[str]]:
    source = source_of(Listing(items, categories), recipe({"kind": "yolo"}))
    rows = list(source.rows)
    problems = [f"{row.location}: {row.message}" for row in rows if isinstance(row, Problem)]
    return [row.record for row in rows if isinstance(row, RawRecord)], problems


def tagged(path: Path, tag: int, size: tuple[int, int] = SIZE) -> Path:
    """A picture whose stored pixels from (10, 5) to (30, 15) are white."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[5:15, 10:30] = 255
    exif = Image.Exif()
    exif[0x0112] = tag
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


def white(record: ImageRecord) -> tuple[float, float, float, float]:
    """The box around the white pixels, as the record's picture shows them without its tag."""
    from io import BytesIO

    with Image.open(BytesIO(record.image)) as image:
        assert image.getexif().get(0x0112, 1) == 1
        rows, columns = np.nonzero(np.asarray(image.convert("L")) > 128)
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_annotations_lie_on_the_turned_picture(tmp_path: Path, tag: int, suffix: str) -> None:
    path = tagged(tmp_path / f"a{suffix}", tag)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        rows, columns = np.nonzero(np.asarray(upright.convert("L")) > 128)
    box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
    stored = (10.0, 5.0, 30.0, 15.0)
    ring = ((10.0, 5.0), (30.0, 5.0), (30.0, 15.0), (10.0, 15.0))
    ways = {
        "size of the turned picture": Item(path, "a.png", ALL, "1", [Shape("cell", box)], size=upright.size),
        "size of the stored pixels": Item(path, "a.png", ALL, "2", [Shape("cell", stored)], size=SIZE, upright=False),
        "convention": Item(path, "a.png", ALL, "3", [Shape("cell", polygons=(ring,))], upright=False),
        "fractions": Item(
            path,
            "a.png",
            ALL,
            "4",
            [Shape("cell", tuple(v / s for v, s in zip(box, upright.size * 2, strict=True)))],
            whole=1,
        ),
    }
    for name, item in ways.items():
        (record,), problems = records(item)
        assert not problems and (record.width, record.height) == upright.size, name
        assert record.regions[0].box_xyxy == pytest.approx(white(record), abs=1e-6), name
        assert record.regions[0].box_xyxy == pytest.approx(box, abs=1e-6), name


def test_of_a_square_picture_boxes_or_the_convention_decide(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tagged(tmp_path / "a.png", 6, (60, 60))
    for upright, expected in ((True, (10, 5, 30, 15)), (False, (45, 10, 55, 30))):
        item = Item(path, "a.png", ALL, "1", [Shape("cell", (10, 5, 30, 15))], size=(60, 60), upright=upright)
        assert records(item)[0][0].regions[0].box_xyxy == pytest.approx(expected)
        (line,) = caplog.messages
        assert "of 1 pictures with an orientation tag" in line
        assert line.endswith(f"read as those of the {'turned picture' if upright else 'stored pixels'}")
        caplog.clear()
    records(Item(path, "a.png", ALL, "1", size=(60, 60)))
    assert not caplog.messages, "no object depends on it"


def test_boxes_tell_the_frame_if_no_size_does(tmp_path: Path) -> None:
    path = tagged(tmp_path / "a.png", 6)  # upright: 40 x 60
    inside = Item(path, "a.png", ALL, "1", [Shape("cell", (0, 0, 58, 20))])
    assert records(inside)[0][0].regions[0].box_xyxy == pytest.approx((20, 0, 40, 58))


def test_another_size_is_a_problem(tmp_path: Path) -> None:
    item = Item(write_image(tmp_path / "a.png"), "a.png", ALL, "x.json: image 1", size=(41, 30))
    assert records(item) == ([], ["x.json: image 1: the image is 40x30, the annotation says 41x30"])


def test_nothing_good_is_lost_with_what_is_bad(tmp_path: Path) -> None:
    ring = ((1.0, 1.0), (9.0, 1.0), (9.0, 9.0))
    mask = coco_mask.encode(np.asfortranarray(np.ones((15, 20), np.uint8)))
    shapes = [
        Shape("cell", (1, 1, 9, 9), (ring, ((1.0, 1.0), (2.0, 2.0)), ()), location="object 1"),
        Shape("cell", (1, 1, 9, 9), rle=mask, location="object 2"),
        Shape("cell", polygons=(((1.0, 1.0), (2.0, 2.0)),), location="object 3"),
        Problem("", "object 4", "no category"),
        Shape("cell", (5, 5, 5, 9), location="object 5"),
    ]
    (record,), problems = records(Item(write_image(tmp_path / "a.png"), "a.png", ALL, "a.json", shapes))
    assert [region.polygons for region in record.regions] == [(ring,), ()]
    assert problems == [
        "a.json, object 1: a ring of 2 points left out",
        "a.json, object 1: a ring of 0 points left out",
        "a.json, object 2: outline left out: a mask of 20x15 on an image of 40x30",
        "a.json, object 3: a ring of 2 points left out",
        "a.json, object 4: no category",
        "a.json, object 5: box of no area: 5 5 5 9",
    ]


def test_an_outline_gives_the_box_that_is_none(tmp_path: Path) -> None:
    ring = ((1.0, 2.0), (9.0, 2.0), (9.0, 8.0))
    shapes = [Shape("cell", (4, 4, 4, 4), (ring,)), Shape("bead", (4, 4, 4, 4)), Shape("cell", (float("nan"), 1, 2, 3))]
    (record,), problems = records(Item(write_image(tmp_path / "a.png"), "a.png", ALL, "1", shapes))
    assert [region.box_xyxy for region in record.regions] == [(1, 2, 9, 8)]
    assert record.unmarked == ("bead", "cell")
    assert [line.split(": ")[1] for line in problems] == ["box of no area", "box of no area", "box is not a number"]


def test_broken_annotations_and_broken_pictures_are_told_apart(tmp_path: Path) -> None:
    def broken() -> list[Shape | Problem]:
        raise ValueError("no JSON")

    (tmp_path / "b.png").write_bytes(b"none")
    items = [
        Item(write_image(tmp_path / "a.png"), "a.png", "test", "1", broken),
        Item(tmp_path / "b.png", "b.png", "test", "2"),
        Item(tmp_path / "c.png", "c.png", "test", "3"),
    ]
    rows = source_of(Listing(items, ["cell"]), recipe({"kind": "yolo"})).rows
    kinds = [row.kind for row in rows if isinstance(row, Problem)]
    assert kinds == ["annotation file", "broken picture", "picture missing"]


def test_a_mask_is_outlined(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[10:20, 5:25] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    (record,), _ = records(Item(write_image(tmp_path / "a.png"), "a.png", ALL, "1", [Shape("cell", rle=rle)]))
    assert record.regions[0].box_xyxy == (5, 10, 25, 20)


def test_equal_names_in_folders_and_suffixes_are_several_pictures(tmp_path: Path) -> None:
    names = ["p1/001.png", "p2/001.png", "p2/001.jpg", "1.2.840.1", "1.2.840.2"]
    path = write_image(tmp_path / "a.png")
    found, problems = records(
        *(Item(path, name, "train", name) for name in names), Item(path, "p1/001.png", "val", "v")
    )
    ids = {record.image_id for record in found}
    assert ids == {"train/p1/001.png", "test/p1/001.png", "p2/001.png", "p2/001.jpg", "1.2.840.1", "1.2.840.2"}
    assert not problems


def test_words_of_several_objects_are_a_group(tmp_path: Path) -> None:
    shapes = [Shape("cell", (1, 1, 9, 9)), Shape("cell", (9, 9, 9, 9)), Shape("cell", (11, 1, 19, 9))]
    words = (Words("both", (0, 2)), Words("all", (0, 1, 2)), Words("none of  [it]"))
    (record,), _ = records(Item(write_image(tmp_path / "a.png"), "a.png", ALL, "1", shapes, words=words))
    assert [(one.text, one.region_ids) for one in record.groups] == [("both", ("a_0", "a_2")), ("none of (it)", ())]


def test_keypoints_have_a_box_and_are_turned(tmp_path: Path) -> None:
    points = ((10.0, 5.0, 2), (30.0, 15.0, 1), (0.0, 0.0, 0))
    item = Item(tagged(tmp_path / "a.png", 3), "a.png", ALL, "1", [Shape("cell", keypoints=points)], upright=False)
    source = source_of(
        Listing([item], ["cell"], {"cell": KeypointSchema(("a", "b", "c"), (), (1, 1, 1))}), recipe({"kind": "yolo"})
    )
    (row,) = source.rows
    assert isinstance(row, RawRecord)
    assert row.record.regions[0].keypoints[:2] == ((50.0, 35.0, 2), (30.0, 25.0, 1))
    assert row.record.regions[0].box_xyxy == (30.0, 25.0, 50.0, 35.0)


@pytest.mark.parametrize("with_size", [True, False])
def test_turned_pictures_of_a_set_are_in_one_frame(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, with_size: bool
) -> None:
    """A picture that is turned by 90 degrees tells by its size, or by a box, and half a turn goes with it."""
    box = (10.0, 5.0, 55.0, 15.0)
    size = SIZE if with_size else None
    paths = {tag: tagged(tmp_path / f"{tag}.png", tag) for tag in (2, 3, 6)}
    items = [Item(path, path.name, "train", "1", [Shape("cell", box)], size=size) for path in paths.values()]
    found = {record.image_id: record.regions[0].box_xyxy for record in records(*items)[0]}
    assert found == {"2": (5.0, 5.0, 50.0, 15.0), "3": (5.0, 25.0, 50.0, 35.0), "6": (25.0, 10.0, 35.0, 55.0)}
    assert "orientation tag" not in caplog.text


def test_a_set_of_both_frames_tells_nothing_of_half_a_turn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shapes = [Shape("cell", (10.0, 5.0, 30.0, 15.0))]
    sizes = {"a": (6, SIZE), "b": (6, SIZE[::-1]), "c": (3, SIZE)}
    items = [
        Item(tagged(tmp_path / f"{name}.png", tag), name, "train", "1", shapes, size=(size[0], size[1]))
        for name, (tag, size) in sizes.items()
    ]
    (*_, half) = records(*items)[0]
    assert (
        half.regions[0].box_xyxy == (10.0, 5.0, 30.0, 15.0) and "of 1 pictures with an orientation tag" in caplog.text
    )


def test_width_and_height_the_other_way_round(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A picture without a tag whose boxes lie in it as it is: they are read, and that is said."""
    path = write_image(tmp_path / "a.png", (60, 40))
    box, ring = (35.0, 5.0, 58.0, 20.0), ((41.0, 1.0), (50.0, 1.0), (50.0, 9.0))
    item = Item(path, "a.png", ALL, "a", [Shape("cell", box), Shape("cell", polygons=(ring,))], size=(40, 60))
    (record,), problems = records(item)
    assert problems == [] and (record.width, record.height) == (60, 40)
    assert [one.box_xyxy for one in record.regions] == [box, (41.0, 1.0, 50.0, 9.0)]
    assert "tell width and height of 1 pictures the other way round" in caplog.text


def test_boxes_of_a_turned_picture_without_a_tag_are_refused(tmp_path: Path) -> None:
    """A box below the picture shows that the set was annotated on turned pictures, whatever fits by chance."""
    paths = [write_image(tmp_path / f"{name}.png", (60, 40)) for name in "ab"]
    boxes = [(1.0, 1.0, 9.0, 9.0), (1.0, 45.0, 9.0, 58.0)]
    items = [
        Item(path, path.name, ALL, path.stem, [Shape("cell", box)], size=(40, 60))
        for path, box in zip(paths, boxes, strict=True)
    ]
    told = "the image is 60x40, the annotation says 40x60"
    found, problems = records(*items)
    assert found == [] and sorted(problems) == [f"a: {told}", f"b: {told}"]
