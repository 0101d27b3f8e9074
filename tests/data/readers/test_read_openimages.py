"""Open Images: fractions in their order, groups, absent categories, pictures by split, rows without pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reading import PROJECT, opened, read, write_image

from vilam.data.readers import find_recipe
from vilam.errors import VilamError

READER = {"kind": "openimages"}
HEAD = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"


def row(image: str = "aa", label: str = "/m/1", box: str = "0.25,0.5,0.1,0.9", group: int = 0) -> str:
    return f"{image},xclick,{label},1,{box},0,0,{group},0,0\n"


def write(root: Path, *rows: str, split: str = "train", file: str = "{}-annotations-bbox.csv") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "class-descriptions-boxable.csv").write_text('/m/1,Clock\n/m/2,"Balloon, red"\n/m/3,Tortoise\n')
    path = root / file.format(split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + "".join(rows))
    return root


def test_a_box_is_in_fractions_with_both_x_first(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "aa.png")
    (record,), problems = read(READER, write(tmp_path, row(label="/m/2")))
    assert problems == [] and record.regions[0].box_xyxy == pytest.approx((10, 3, 20, 27))
    assert (record.regions[0].category, record.image_id) == ("Balloon, red", "train/aa")


def test_only_categories_with_boxes_or_verified_ones_are_known(tmp_path: Path) -> None:
    for name in ("aa", "bb"):
        write_image(tmp_path / "train" / f"{name}.png")
    write(tmp_path, row(), row(label="/m/2", group=1), row("bb", "/m/3"))
    (tmp_path / "train-annotations-human-imagelabels-boxable.csv").write_text(
        "ImageID,Source,LabelName,Confidence\nbb,verification,/m/1,0\naa,verification,/m/3,1\n"
    )
    records, problems = read(READER, tmp_path)
    found = {record.image_id: (len(record.regions), record.unmarked) for record in records}
    assert problems == [] and found == {
        "train/aa": (1, ("Balloon, red", "Tortoise")),
        "train/bb": (1, ("Balloon, red",)),
    }


def test_splits_have_their_own_pictures(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        write_image(tmp_path / split / "aa.png")
        write(tmp_path, row(), split=split)
    assert [record.split for record in read(READER, tmp_path)[0]] == ["train", "val", "test"]


def test_the_layout_of_fiftyone_and_heads_of_names(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "data" / "aa.png")
    write(tmp_path, row("aa", "/m/9"), file="{}/labels/detections.csv")
    (tmp_path / "train" / "metadata").mkdir()
    (tmp_path / "train" / "metadata" / "classes.csv").write_text("LabelName,DisplayName\n/m/9,Owl\n")
    (record,), _ = read(READER, tmp_path)
    assert record.regions[0].category == "Owl"


def test_rows_of_pictures_that_are_elsewhere_are_one_problem(tmp_path: Path) -> None:
    write_image(tmp_path / "aa.png")
    records, problems = read(READER, write(tmp_path, row(), row("cc"), row("dd"), row(box="0.1,x,0.1,0.2")))
    assert len(records) == 1 and len(problems) == 2
    assert any(one.endswith("2 images not found, the first: cc") for one in problems)
    assert any("row 5: box: could not convert" in one for one in problems)


def test_the_folder_is_recognised(tmp_path: Path) -> None:
    write_image(tmp_path / "aa.png")
    for path in (write(tmp_path, row()), tmp_path / "train-annotations-bbox.csv"):
        recipe, folder = find_recipe("auto", path, PROJECT)
        assert (recipe.title, folder) == ("Open Images", tmp_path)
    with pytest.raises(VilamError, match="no annotation file"):
        opened(READER, tmp_path / "train")


def test_ids_may_have_the_suffix_of_the_picture(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "a.b (1).png")
    (record,), problems = read(READER, write(tmp_path, row("a.b (1).png")))
    assert problems == [] and record.regions[0].box_xyxy == pytest.approx((10, 3, 20, 27))


MASKS = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"


def test_masks_are_joined_to_their_boxes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A mask of half the picture's size; the second has no PNG, the third no box of its numbers."""
    write_image(tmp_path / "train" / "aa.png")
    write(tmp_path, row(box="0.1,0.3,0.1,0.3"), row(), row(label="/m/3"))
    pixels = np.zeros((15, 20), np.uint8)
    pixels[2:13, 5:10] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(pixels).save(tmp_path / "masks" / "aa_m1_0a.png")
    rows = ["aa_m1_0a.png,aa,/m/1,0a,0.25,0.500001,0.1,0.9,0.8,", "aa_m3_0b.png,aa,/m/3,0b,0.25,0.5,0.1,0.9,0.8,"]
    rows += ["aa_m1_0a.png,aa,/m/1,0c,0.6,0.9,0.1,0.9,0.8,", "bb_m1_0a.png,bb,/m/1,0c,0.6,0.9,0.1,0.9,0.8,"]
    (tmp_path / "train-annotations-object-segmentation.csv").write_text(MASKS + "\n".join(rows))
    (record,), problems = read(READER, tmp_path)
    assert problems == [] and [len(one.polygons) for one in record.regions] == [0, 1, 0]
    (ring,) = record.regions[1].polygons
    xs, ys = zip(*ring, strict=True)
    assert (min(xs), min(ys), max(xs), max(ys)) == pytest.approx((10, 4, 20, 26))
    assert record.regions[1].box_xyxy == pytest.approx((10, 3, 20, 27))
    assert "2 masks of pictures that are here have no PNG or no box" in caplog.text


def test_a_mask_that_is_no_picture_costs_only_itself(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "aa.png")
    write(tmp_path, row())
    (tmp_path / "aa_m1_0a.png").write_bytes(b"no picture")
    (tmp_path / "train-annotations-object-segmentation.csv").write_text(
        f"{MASKS}aa_m1_0a.png,aa,/m/1,0a,0.25,0.5,0.1,0.9,0.8,\n"
    )
    (record,), (problem,) = read(READER, tmp_path)
    assert len(record.regions) == 1 and "outline left out: aa_m1_0a.png: a mask that is no picture" in problem
