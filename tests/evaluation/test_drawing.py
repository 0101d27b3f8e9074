"""Drawings: the pixels that get the colour; the original image does not change."""

import pytest
from PIL import Image, ImageChops

from vilam.evaluation.drawing import GREEN, draw, fit
from vilam.tasks.base import Reading

GREY = (90, 90, 90)
COLOUR = (26, 152, 80)


def grey_image() -> Image.Image:
    return Image.new("RGB", (120, 80), GREY)


def test_a_box_is_drawn_on_its_sides_at_the_scale_of_the_image() -> None:
    drawn = draw(grey_image(), Reading(box_xyxy=(10, 10, 30, 20)), colour=GREEN, scale=3)
    for x, y in ((30, 45), (90, 45), (60, 30), (60, 60)):
        assert drawn.getpixel((x, y)) == COLOUR
    assert drawn.getpixel((60, 45)) == drawn.getpixel((5, 5)) == GREY


def test_a_polygon_is_filled_lightly_and_a_keypoint_fully() -> None:
    filled = draw(grey_image(), Reading(polygons=(((20, 20), (100, 20), (60, 70)),)), colour=GREEN).getpixel((60, 40))
    assert GREY != filled != COLOUR
    assert draw(grey_image(), Reading(points=((60, 40),)), colour=GREEN).getpixel((60, 40)) == COLOUR


def test_bones_join_labelled_points_only() -> None:
    reading = Reading(points=((20, 40), (100, 40), (0, 0)))
    drawn = draw(grey_image(), reading, colour=GREEN, bones=((0, 1), (1, 2), (0, 9)))
    assert drawn.getpixel((60, 40)) == COLOUR
    assert drawn.getpixel((0, 0)) == drawn.getpixel((50, 20)) == GREY


def label_at(corner: tuple[float, float], size: tuple[int, int]) -> Image.Image:
    """The part of an image that a label at a corner changes, with its background."""
    bare = draw(Image.new("RGB", size, GREY), Reading(points=(corner,)), colour=GREEN)
    labelled = draw(Image.new("RGB", size, GREY), Reading(points=(corner,)), "circle 0.9", GREEN)
    return labelled.crop(ImageChops.difference(bare, labelled).getbbox())


@pytest.mark.parametrize("corner", [(3, 3), (116, 3), (3, 76), (116, 76)])
def test_a_label_stays_inside_the_image(corner: tuple[float, float]) -> None:
    whole, label = label_at((200, 200), (400, 400)), label_at(corner, (120, 80))
    assert label.size == whole.size and ImageChops.difference(label, whole).getbbox() is None


def test_a_label_that_is_wider_than_the_image_shows_its_beginning() -> None:
    whole = label_at((200, 200), (400, 400))
    cut = label_at((20, 60), (30, 80))
    assert cut.size == (30, whole.height) and whole.width > 30
    assert ImageChops.difference(cut, whole.crop((0, 0, 30, whole.height))).getbbox() is None


@pytest.mark.parametrize("reading", [Reading(), Reading(points=()), Reading(polygons=()), Reading(text="words")])
def test_an_empty_reading_draws_nothing_and_the_original_stays_unchanged(reading: Reading) -> None:
    image = grey_image()
    assert ImageChops.difference(draw(image, reading), grey_image()).getbbox() is None
    draw(image, Reading(box_xyxy=(10, 10, 30, 20)))
    assert ImageChops.difference(image, grey_image()).getbbox() is None


@pytest.mark.parametrize(
    ("size", "expected", "factor"),
    [
        ((96, 96), (288, 288), 3),
        ((640, 480), (480, 360), 0.75),
        ((300, 200), (300, 200), 1),
        ((2000, 1), (480, 1), 0.24),
    ],
)
def test_images_are_scaled_to_a_size_to_look_at(
    size: tuple[int, int], expected: tuple[int, int], factor: float
) -> None:
    fitted, scale = fit(Image.new("L", size))
    assert (fitted.size, scale, fitted.mode) == (expected, factor, "RGB")
