"""Masks: one or several objects in a mask, by value, by colour, by connected part; and invalid masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from reading import opened, read, write_image

from vilam.data.masks import polygons_to_mask
from vilam.errors import VilamError

PLAIN: dict[str, Any] = {
    "kind": "masks",
    "images": {"train": "images/*.png"},
    "mask": "masks/{stem}_mask*.png",
    "category": "lesion",
}


def save(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def blobs() -> np.ndarray[Any, Any]:
    """A mask of 30 x 40 with two blobs."""
    pixels = np.zeros((30, 40), bool)
    pixels[3:12, 5:15] = True
    pixels[18:28, 20:38] = True
    return pixels


@pytest.mark.parametrize("brightest", [1, 200, 255])
def test_a_mask_is_one_object(tmp_path: Path, brightest: int) -> None:
    write_image(tmp_path / "images" / "a.png")
    save(tmp_path / "masks" / "a_mask.png", blobs() * brightest)
    (record,), problems = read(PLAIN, tmp_path)
    assert problems == [] and record.image_id == "images/a"
    (region,) = record.regions
    assert region.category == "lesion" and region.box_xyxy == (5, 3, 38, 28) and len(region.polygons) == 2
    assert np.array_equal(polygons_to_mask(region.polygons, 40, 30), blobs())


def test_connected_parts_are_objects(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    pixels = blobs()
    pixels[0, 0] = True  # a speck
    pixels[12, 15] = True  # touches by a corner
    save(tmp_path / "masks" / "a_mask.png", pixels * 255)
    regions = read({**PLAIN, "objects": "parts"}, tmp_path)[0][0].regions
    assert [region.box_xyxy for region in regions] == [(5, 3, 16, 13), (20, 18, 38, 28)]


def test_each_mask_of_an_image_is_an_object(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    first, second = blobs(), blobs()
    first[15:], second[:15] = False, False
    save(tmp_path / "masks" / "a_mask.png", first * 255)
    save(tmp_path / "masks" / "a_mask_1.png", second * 255)
    save(tmp_path / "masks" / "a_mask_2.png", 0 * first)
    regions = read(PLAIN, tmp_path)[0][0].regions
    assert [region.box_xyxy for region in regions] == [(5, 3, 15, 12), (20, 18, 38, 28)]
    assert len({region.region_id for region in regions}) == 2


@pytest.mark.parametrize("kind", ["grey", "palette", "colour"])
def test_pixel_values_map_to_categories(tmp_path: Path, kind: str) -> None:
    write_image(tmp_path / "images" / "a.png")
    pixels = np.zeros((30, 40), np.uint8)
    pixels[3:12, 5:15], pixels[18:28, 20:38], pixels[0:2, 0:2] = 1, 2, 7
    names = {"1": "shaft", "2": "wrist"}
    path = tmp_path / "masks" / "a_mask.png"
    if kind == "colour":
        names = {"255,0,0": "shaft", "0,255,0": "wrist"}
        save(path, np.stack([255 * (pixels == 1), 255 * (pixels == 2), 9 * (pixels == 7)], -1))
    else:
        save(path, pixels)
    if kind == "palette":
        image = Image.fromarray(pixels, "P")
        image.putpalette([0, 0, 0, 90, 10, 10, 10, 90, 10])
        image.save(path)
    reader = {**{name: value for name, value in PLAIN.items() if name != "category"}, "values": names}
    regions = read(reader, tmp_path)[0][0].regions
    assert [(region.category, region.box_xyxy) for region in regions] == [
        ("shaft", (5, 3, 15, 12)),
        ("wrist", (20, 18, 38, 28)),
    ]
    assert opened(reader, tmp_path).categories == ("shaft", "wrist")


def test_folder_names_are_categories_beside_their_masks(tmp_path: Path) -> None:
    for name in ("benign", "malignant"):
        write_image(tmp_path / name / f"{name} (1).png")
        save(tmp_path / name / f"{name} (1)_mask.png", blobs() * 255)
    write_image(tmp_path / "normal" / "normal (1).png")
    reader = {**PLAIN, "images": {"all": "*/*.png"}, "mask": "{folder}/{stem}_mask*.png", "category": "{name}"}
    records, problems = read(reader, tmp_path)
    found = sorted((r.image_id, [each.category for each in r.regions]) for r in records)
    assert problems == [] and found == [
        ("benign/benign (1)", ["benign"]),
        ("malignant/malignant (1)", ["malignant"]),
        ("normal/normal (1)", []),
    ]


def test_other_image_formats_become_png(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.tif", colour=77)
    save(tmp_path / "masks" / "a_mask.png", blobs() * 255)
    (record,), _ = read({**PLAIN, "images": {"train": "images/*.tif"}}, tmp_path)
    assert record.image.startswith(b"\x89PNG")
    assert (record.width, record.height) == (40, 30)


def test_a_mask_of_another_size_is_a_problem(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png", (20, 20))
    save(tmp_path / "masks" / "a_mask.png", blobs() * 255)
    records, problems = read(PLAIN, tmp_path)
    assert records[0].regions == () and problems == ["masks/a_mask.png: the mask is 40x30, its image 20x20"]


def test_a_coloured_mask_for_a_recipe_with_grey_values_is_a_problem(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    write_image(tmp_path / "masks" / "a_mask.png")
    reader = {**{name: value for name, value in PLAIN.items() if name != "category"}, "values": {"1": "shaft"}}
    (problem,) = read(reader, tmp_path)[1]
    assert problem.endswith("the mask has colours, the recipe names the value 1: write it as R,G,B")


def test_categories_come_from_a_table_and_patients_stay_together(tmp_path: Path) -> None:
    rows = []
    for i in range(40):
        write_image(tmp_path / "images" / f"{i}.png")
        save(tmp_path / "masks" / f"{i}_mask.png", blobs() * 255)
        rows.append(f"{i},{'mel' if i % 2 else 'nv'},patient {i // 4}")
    (tmp_path / "table.csv").write_text("id,dx,who\n" + "\n".join(rows[:-1]))
    names = {"mel": "melanoma", "nv": "nevus"}
    table = {"file": "table.csv", "image": "id", "category": "dx", "categories": names, "together": "who"}
    reader = {**PLAIN, "images": {"all": "images/*.png"}, "table": table, "category": None}
    records, problems = read(reader, tmp_path)
    assert problems == ["masks/39_mask.png: its image has no category in the recipe's table"]
    assert opened(reader, tmp_path).categories == ("melanoma", "nevus")
    found = {int(record.image_id.removeprefix("images/")): record for record in records}
    assert [found[i].regions[0].category for i in (6, 7)] == ["nevus", "melanoma"]
    splits = [{found[i].split for i in range(4 * patient, 4 * patient + 4)} for patient in range(9)]
    assert all(len(own) == 1 for own in splits) and len(set.union(*splits)) > 1


def test_a_later_row_without_category_does_not_change_that_of_the_image(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    save(tmp_path / "masks" / "a_mask.png", blobs() * 255)
    (tmp_path / "table.csv").write_text("id,dx\na,\na,nevus\na,\n")
    reader = {**PLAIN, "table": {"file": "table.csv", "image": "id", "category": "dx"}, "category": None}
    (record,), problems = read(reader, tmp_path)
    assert problems == [] and [region.category for region in record.regions] == ["nevus"]


def test_images_of_one_film_stay_together_by_a_pattern(tmp_path: Path) -> None:
    for film in range(12):
        for frame in range(3):
            write_image(tmp_path / f"seq_{film}" / "frames" / f"{frame}.png")
            save(tmp_path / f"seq_{film}" / "labels" / f"{frame}.png", blobs() * 255)
    reader = {**PLAIN, "images": {"all": "seq_*/frames/*.png"}, "mask": "{parent}/labels/{stem}.png"}
    records, problems = read({**reader, "together": "^(seq_[0-9]+)/"}, tmp_path)
    assert problems == [] and all(len(record.regions) == 1 for record in records)
    splits = [{r.split for r in records if r.image_id.startswith(f"seq_{film}/")} for film in range(12)]
    assert all(len(own) == 1 for own in splits) and len(set.union(*splits)) > 1


def test_a_folder_without_images_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=r"no images images/\*\.png: check prepare\.root"):
        opened(PLAIN, tmp_path)


def test_a_pattern_that_matches_no_mask_is_an_error(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    save(tmp_path / "masks" / "b_mask.png", blobs() * 255)
    with pytest.raises(VilamError, match=r"no image has a mask: no file matches masks/.*, for instance of .*a\.png"):
        opened(PLAIN, tmp_path)
