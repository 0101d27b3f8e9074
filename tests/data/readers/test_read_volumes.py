"""Volumes: the slices that show objects, from millimetres and from masks, for any order of the axes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own abbreviation)
from numpy.typing import NDArray
from PIL import Image
from reading import opened, read

from vilam.errors import VilamError

NODULES: dict[str, Any] = {
    "kind": "volumes",
    "images": {"all": "*.mhd"},
    "nodules": {
        "file": "annotations.csv",
        "volume": "seriesuid",
        "centre": ["coordX", "coordY", "coordZ"],
        "diameter": "diameter_mm",
        "category": "nodule",
    },
    "window": {"low": 0, "high": 255},
}
MASKS: dict[str, Any] = {
    "kind": "volumes",
    "images": {"test": "images/*.nii.gz"},
    "mask": "labels/{stem}*.nii.gz",
    "category": "hippocampus",
    "window": {"low": 0, "high": 255},
}


def write(path: Path, values: NDArray[Any], axes: str = "LPS") -> None:
    """A volume [z, y, x] of 0.5 x 0.8 x 2 mm, from (-100, 50, 10) mm, with its axes in the order ``axes``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.5, 0.8, 2.0))
    image.SetOrigin((-100.0, 50.0, 10.0))
    sitk.WriteImage(sitk.DICOMOrient(image, axes), str(path))


def ball(centre: tuple[float, float, float], radius: float, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Voxels [z, y, x] whose centres are inside a ball in millimetres."""
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    positions = (x * 0.5 - 100, y * 0.8 + 50, z * 2 + 10)
    return np.sqrt(sum((position - own) ** 2 for position, own in zip(positions, centre, strict=True))) <= radius


@pytest.mark.parametrize("axes", ["LPS", "RAI", "RAS", "ASL"])
def test_the_box_of_a_nodule_contains_its_voxels(tmp_path: Path, axes: str) -> None:
    """To a voxel."""
    centre, radius = (-85.0, 74.0, 30.0), 6.0
    voxels = ball(centre, radius, (20, 60, 70))
    write(tmp_path / "one.mhd", (200 * voxels).astype(np.int16), axes)
    row = ",".join(map(str, (*centre, 2 * radius)))
    (tmp_path / "annotations.csv").write_text(f"seriesuid,coordX,coordY,coordZ,diameter_mm\none,{row}\nother,1,2,3,4\n")
    (record,), problems = read(NODULES, tmp_path)
    assert problems == [] and (record.image_id, record.width, record.height) == ("one_0010", 70, 60)
    rows, columns = np.nonzero(voxels[10])
    filled = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert record.regions[0].box_xyxy == pytest.approx(filled, abs=1)
    with Image.open(BytesIO(record.image)) as image:
        assert np.array_equal(np.asarray(image), 200 * voxels[10])


def test_nodules_of_one_slice_are_regions_of_one_image(tmp_path: Path) -> None:
    write(tmp_path / "one.mhd", np.zeros((20, 60, 70), np.int16))
    rows = "one,-85,74,30,4\none,-75,84,30.5,4\none,-85,74,20,4\n"
    (tmp_path / "annotations.csv").write_text(f"seriesuid,coordX,coordY,coordZ,diameter_mm\n{rows}")
    records, _ = read(NODULES, tmp_path)
    assert [(record.image_id, len(record.regions)) for record in records] == [("one_0005", 1), ("one_0010", 2)]


@pytest.mark.parametrize("axes", ["LPS", "RAS"])
def test_the_slice_of_a_mask_is_the_one_where_it_is_largest(tmp_path: Path, axes: str) -> None:
    mask = np.zeros((12, 30, 40), np.uint8)
    mask[3, 5:8, 5:8], mask[4, 4:14, 6:26], mask[5, 5:8, 5:8] = 1, 1, 1
    values = np.arange(12 * 30 * 40).reshape(12, 30, 40) % 256
    write(tmp_path / "images" / "a.nii.gz", values.astype(np.int16), axes)
    write(tmp_path / "labels" / "a_left.nii.gz", mask, axes)
    (record,), problems = read(MASKS, tmp_path)
    assert problems == [] and (record.image_id, record.split) == ("images/a_0004", "test")
    assert record.regions[0].box_xyxy == (6, 4, 26, 14) and record.regions[0].polygons
    with Image.open(BytesIO(record.image)) as image:
        assert np.array_equal(np.asarray(image), values[4])


def test_mask_values_map_to_categories(tmp_path: Path) -> None:
    mask = np.zeros((12, 30, 40), np.uint8)
    mask[3, 5:8, 5:8], mask[7, 9:14, 6:26] = 1, 2
    write(tmp_path / "images" / "a.nii.gz", np.zeros((12, 30, 40), np.int16))
    write(tmp_path / "labels" / "a.nii.gz", mask)
    reader = {**MASKS, "values": {"1": "left", "2": "right"}, "category": None}
    records, _ = read(reader, tmp_path)
    assert [(r.image_id[-4:], r.regions[0].category) for r in records] == [("0003", "left"), ("0007", "right")]
    assert opened(reader, tmp_path).categories == ("left", "right")


@pytest.mark.parametrize("what", ["broken", "mask of another size", "two dimensions"])
def test_a_volume_that_cannot_be_read_is_a_problem(tmp_path: Path, what: str) -> None:
    write(tmp_path / "images" / "a.nii.gz", np.zeros((12, 30, 40), np.int16))
    write(tmp_path / "labels" / "a.nii.gz", np.ones((12, 30, 40 if what != "mask of another size" else 41), np.uint8))
    if what == "broken":
        (tmp_path / "images" / "a.nii.gz").write_bytes(b"nothing")
    if what == "two dimensions":
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((30, 40), np.int16)), str(tmp_path / "images" / "a.nii.gz"))
    records, (problem,) = read(MASKS, tmp_path)
    assert records == [] and problem.startswith("images/a.nii.gz: cannot be read: ")


def test_a_nodule_outside_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path / "one.mhd", np.zeros((20, 60, 70), np.int16))
    (tmp_path / "annotations.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\none,-85,74,300,4\n")
    assert "lies outside the volume" in read(NODULES, tmp_path)[1][0]


def test_a_folder_without_volumes_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=r"no volumes images/\*\.nii\.gz: check prepare\.root"):
        opened(MASKS, tmp_path)
