"""Image files: PNG and JPEG stay unchanged, everything else becomes a PNG of 8 bits that shows the same."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own abbreviation)
from numpy.typing import NDArray
from PIL import Image

from vilam.data.pixels import as_grey
from vilam.data.readers.images import read_image, read_picture, size_of
from vilam.data.recipes import Window
from vilam.errors import VilamError

RANDOM = np.random.default_rng(0)


def shown(path: Path, window: Window | None = None) -> NDArray[Any]:
    content, width, height = read_image(path, window)
    with Image.open(BytesIO(content)) as image:
        assert image.format == "PNG" and image.size == (width, height)
        return np.asarray(image)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_png_and_jpeg_stay_unchanged(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RANDOM.integers(0, 255, (30, 40, 3), np.uint8)).save(path)
    assert read_image(path) == (path.read_bytes(), 40, 30)


@pytest.mark.parametrize("suffix", ["tif", "bmp", "webp", "gif"])
def test_other_formats_become_png_without_loss(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    pixels = RANDOM.integers(0, 255, (30, 40), np.uint8)
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    found = shown(path)
    assert np.array_equal(found if found.ndim == 2 else found[..., 0], pixels)


@pytest.mark.parametrize("suffix", ["png", "tif", "dcm", "mha", "nii", "nii.gz", "nrrd"])
def test_a_window_shows_values_of_more_than_8_bits(tmp_path: Path, suffix: str) -> None:
    """From -175 to 275 Hounsfield units after 32,768 is subtracted, as for DeepLesion."""
    path = tmp_path / f"a.{suffix}"
    values = RANDOM.integers(32768 - 1000, 32768 + 1000, (30, 40)).astype(np.uint16)
    if suffix in ("png", "tif"):
        Image.fromarray(values).save(path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    expected = np.clip((values.astype(float) - 32768 + 175) / 450, 0, 1) * 255
    assert np.abs(shown(path, Window(low=-175, high=275, offset=-32768)) - expected).max() <= 0.5


def test_without_a_window_all_values_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[1000, 2000, 3000]], np.uint16)).save(path)
    assert shown(path).tolist() == [[0, 128, 255]]


def test_bytes_stay_unchanged_and_a_uniform_image_is_black() -> None:
    values = np.array([[3, 200]], np.uint8)
    assert np.array_equal(as_grey(values, None), values)
    assert as_grey(np.full((2, 2), 700.0), None).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("kind", "inverted"), [(b"MONOCHROME2 ", False), (b"MONOCHROME1 ", True)])
def test_x_rays_are_white_on_black(tmp_path: Path, kind: bytes, inverted: bool) -> None:
    """Some are stored black on white."""
    path = tmp_path / "a.dcm"
    values = RANDOM.integers(0, 255, (30, 40), np.uint8)
    values[0, :2] = 0, 255
    sitk.WriteImage(sitk.GetImageFromArray(values[None]), str(path))
    content = path.read_bytes()
    assert content.count(b"MONOCHROME2 ") == 1
    path.write_bytes(content.replace(b"MONOCHROME2 ", kind))
    assert np.array_equal(shown(path), 255 - values if inverted else values)


def test_a_volume_is_no_image(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 30, 40), np.int16)), str(tmp_path / "a.mha"))
    with pytest.raises(OSError, match="a volume of 5 slices, not an image"):
        read_image(tmp_path / "a.mha")


@pytest.mark.parametrize("suffix", ["dcm", "nii", "mhd", "png"])
def test_a_broken_file_is_one_line(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(b"not an image")
    with pytest.raises(OSError) as error:
        read_image(tmp_path / f"a.{suffix}")
    assert "\n" not in str(error.value)


def test_a_missing_simpleitk_is_reported_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    (tmp_path / "a.dcm").touch()
    with pytest.raises(VilamError, match=r"SimpleITK is not installed: pip install 'vilam\[medical\]'"):
        read_image(tmp_path / "a.dcm")


def test_what_is_no_number_is_black_and_does_not_hide_the_rest() -> None:
    values = np.array([[np.nan, 1.0], [np.inf, 3.0]])
    assert as_grey(values, None).tolist() == [[0, 0], [255, 255]]
    assert as_grey(np.full((1, 1), np.nan), None).tolist() == [[0]]


def test_what_pillow_cannot_read_is_said_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"ftypheic")
    with pytest.raises(OSError, match="no picture of a known kind: save it as JPEG or PNG"):
        read_image(tmp_path / "a.heic")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_the_stored_size_is_told_beside_the_upright_one(tmp_path: Path, suffix: str, tag: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.new("RGB", (40, 30)).save(path := tmp_path / f"a.{suffix}", exif=exif)
    picture = read_picture(path)
    assert (picture.stored, picture.tag) == ((40, 30), tag)
    assert size_of(path) == (picture.width, picture.height) == ((30, 40) if tag > 4 else (40, 30))


@pytest.mark.parametrize("tag", [1, 6])
def test_several_jpegs_in_one_file_are_the_first(tmp_path: Path, tag: int) -> None:
    """MPO, as telephones write it under the suffix of a JPEG."""
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x0112] = tag
    first = Image.new("RGB", (40, 30), (200, 0, 0))
    others = [Image.new("RGB", (40, 30))]
    first.save(path, format="MPO", save_all=True, append_images=others, exif=exif)
    picture = read_picture(path)
    with Image.open(BytesIO(picture.content)) as image:
        assert image.format == "JPEG" and image.size == ((30, 40) if tag == 6 else (40, 30))
        assert image.getpixel((20, 15))[0] > 190  # type: ignore[index]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"", "an empty file"),
        (b"<html>", "no picture of a known kind"),
    ],
)
def test_what_lies_in_place_of_a_picture_is_said(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(OSError, match=told):
        read_picture(tmp_path / "a.jpg")
