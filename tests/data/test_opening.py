"""Pictures that are asked about are opened as training opens its own."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own abbreviation)
from PIL import Image

from vilam.data.opening import open_picture
from vilam.data.readers.images import read_picture
from vilam.data.recipes import Window
from vilam.data.records import Levels

VALUES = np.linspace(-1000, 1000, 30 * 40).reshape(30, 40).astype(np.int16)
LEVELS = Levels(-175, 275)


def dicom(path: Path) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(VALUES[None]), str(path))
    return path


@pytest.mark.parametrize("suffix", [".dcm", ".nii.gz", ".nii", ".mha", ".nrrd"])
def test_medical_files_are_shown_by_the_window_of_training(tmp_path: Path, suffix: str) -> None:
    path = dicom(tmp_path / f"a{suffix}")
    expected = np.round(255 * ((VALUES + 175.0) / 450).clip(0, 1))
    shown = np.asarray(open_picture(path, LEVELS))
    assert shown.shape == (30, 40, 3) and np.array_equal(shown[..., 0], expected)
    trained = Image.open(BytesIO(read_picture(path, Window(low=-175, high=275)).content)).convert("RGB")
    assert np.array_equal(shown, np.asarray(trained))


@pytest.mark.parametrize("suffix", [".dcm", ".nii.gz", ".nii"])
def test_medical_files_are_known_without_their_suffix_and_as_bytes(tmp_path: Path, suffix: str) -> None:
    content = dicom(tmp_path / f"a{suffix}").read_bytes()
    plain = tmp_path / "IM0001"
    plain.write_bytes(content)
    shown = np.asarray(open_picture(tmp_path / f"a{suffix}", LEVELS))
    assert np.array_equal(shown, np.asarray(open_picture(plain, LEVELS)))
    assert np.array_equal(shown, np.asarray(open_picture(content, LEVELS)))


def test_a_picture_of_16_bits_is_shown_by_the_window(tmp_path: Path) -> None:
    values = (VALUES.astype(np.int32) + 1000).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert np.asarray(open_picture(tmp_path / "a.png")).max() == 255
    found = np.asarray(open_picture(tmp_path / "a.png", Levels(0, 4000)))[..., 0]
    assert np.array_equal(found, np.round(255.0 * values / 4000))


def test_a_plain_picture_ignores_the_window(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3), (7, 8, 9)).save(tmp_path / "a.png")
    assert open_picture(tmp_path / "a.png", LEVELS).getpixel((0, 0)) == (7, 8, 9)


def test_a_volume_is_no_picture(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 30, 40), np.int16)), str(tmp_path / "a.nii.gz"))
    with pytest.raises(OSError, match="a volume of 5 slices"):
        open_picture(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("content", [b"", b"none", b"\x1f\x8b", b"\x1f\x8bnone", bytes(128) + b"DICM"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    for source in (tmp_path / "a", content):
        with pytest.raises(OSError, match=r"."):
            open_picture(source)
