"""Pictures that show the same are found, other pictures are not."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from vilam.data.near_copies import BYTES, fingerprint, near_pairs
from vilam.data.scenes import generate_scene
from vilam.data.sharing import SharedPictures


def photograph(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Soft colours and some edges, as a photograph has them."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(soft)
    for _ in range(6):
        x, y, w, h = (int(v) for v in rng.integers(5, 150, 4))
        draw.ellipse((x, y, x + w, y + h), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    return soft.filter(ImageFilter.GaussianBlur(1))


def encoded(image: Image.Image, kind: str = "JPEG", quality: int = 60) -> Image.Image:
    file = BytesIO()
    image.save(file, kind, quality=quality)
    return Image.open(file)


def near(first: Image.Image, second: Image.Image) -> bool:
    return bool(list(near_pairs(fingerprint(first), fingerprint(second))))


@pytest.mark.parametrize("seed", range(20))
def test_scaled_and_compressed_copies_are_near(seed: int) -> None:
    picture = photograph(seed)
    assert near(picture, encoded(picture))
    assert near(picture, picture.resize((200, 150)))
    assert near(picture, encoded(picture.resize((640, 480), Image.Resampling.LANCZOS), quality=85))


def test_other_photographs_are_not_near() -> None:
    prints = b"".join(fingerprint(photograph(seed)) for seed in range(60))
    assert sorted(near_pairs(prints, prints)) == [(index, index) for index in range(60)]


def test_generated_scenes_are_not_near() -> None:
    scenes = [generate_scene(5, index, "train", 64).image for index in range(200)]
    prints = [fingerprint(Image.open(BytesIO(scene))) for scene in scenes]
    joined = b"".join(prints)
    assert len(joined) > 150 * BYTES
    assert all(first == second for first, second in near_pairs(joined, joined))


@pytest.mark.parametrize("colour", ["black", "white", "red", "grey"])
def test_plain_pictures_have_no_fingerprint(colour: str) -> None:
    assert fingerprint(Image.new("RGB", (64, 48), colour)) == b""
    noise = np.random.default_rng(0).integers(100, 103, (48, 64, 3), dtype=np.uint8)
    assert fingerprint(Image.fromarray(noise)) == b""


def test_one_object_elsewhere_or_of_another_colour_is_another_picture() -> None:
    def scan(place: int, colour: str) -> Image.Image:
        image = Image.new("RGB", (128, 128), "grey")
        ImageDraw.Draw(image).rectangle((place, 40, place + 30, 90), fill=colour)
        return image

    assert near(scan(20, "white"), scan(20, "white").resize((100, 100)))
    assert not near(scan(20, "white"), scan(45, "white"))
    assert not near(scan(20, "#ff0000"), scan(20, "#0000ff"))


def test_copies_and_near_copies_of_splits_are_named() -> None:
    pictures = SharedPictures()
    first, second = photograph(1), photograph(2)
    for split, name, image, content in (
        ("train", "a", first, b"1"),
        ("train", "b", second, b"2"),
        ("train", "b2", second, b"2"),
        ("test", "c", first, b"1"),
        ("test", "d", encoded(second), b"3"),
        ("val", "e", photograph(9), b"9"),
    ):
        pictures.add(split, name, content, fingerprint(image))
    assert pictures.copies() == [["train/a", "test/c"]]
    assert sorted(pictures.near_copies()) == [("train/b", "test/d"), ("train/b2", "test/d")]
