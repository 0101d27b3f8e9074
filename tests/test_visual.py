"""Drawings: where the colour falls, and that the picture given stays as it was."""

import pytest
from PIL import Image, ImageChops

from vilam.tasks.base import Reading
from vilam.visual import GREEN, draw, fit

GREY = (90, 90, 90)
COLOUR = (26, 152, 80)


def picture() -> Image.Image:
    return Image.new("RGB", (120, 80), GREY)


def test_a_box_is_drawn_on_its_sides_at_the_pictures_scale() -> None:
    drawn = draw(picture(), Reading(box_xyxy=(10, 10, 30, 20)), colour=GREEN, scale=3)
    for x, y in ((30, 45), (90, 45), (60, 30), (60, 60)):
        assert drawn.getpixel((x, y)) == COLOUR
    assert drawn.getpixel((60, 45)) == drawn.getpixel((5, 5)) == GREY


def test_a_polygon_is_filled_lightly_and_a_keypoint_fully() -> None:
    filled = draw(picture(), Reading(polygons=(((20, 20), (100, 20), (60, 70)),)), colour=GREEN).getpixel((60, 40))
    assert GREY != filled != COLOUR
    assert draw(picture(), Reading(points=((60, 40),)), colour=GREEN).getpixel((60, 40)) == COLOUR


def test_bones_join_labelled_points_only() -> None:
    reading = Reading(points=((20, 40), (100, 40), (0, 0)))
    drawn = draw(picture(), reading, colour=GREEN, bones=((0, 1), (1, 2), (0, 9)))
    assert drawn.getpixel((60, 40)) == COLOUR
    assert drawn.getpixel((0, 0)) == drawn.getpixel((50, 20)) == GREY


@pytest.mark.parametrize("box", [(0, 0, 20, 20), (100, 60, 119, 79)])
def test_a_label_stays_inside_the_picture(box: tuple[float, float, float, float]) -> None:
    bare = draw(picture(), Reading(box_xyxy=box))
    assert ImageChops.difference(bare, draw(picture(), Reading(box_xyxy=box), "circle 0.9")).getbbox()


@pytest.mark.parametrize("reading", [Reading(), Reading(points=()), Reading(polygons=()), Reading(text="words")])
def test_nothing_to_draw_changes_nothing_and_the_original_is_kept(reading: Reading) -> None:
    image = picture()
    assert ImageChops.difference(draw(image, reading), picture()).getbbox() is None
    draw(image, Reading(box_xyxy=(10, 10, 30, 20)))
    assert ImageChops.difference(image, picture()).getbbox() is None


@pytest.mark.parametrize(
    ("size", "expected", "factor"),
    [
        ((96, 96), (288, 288), 3),
        ((640, 480), (480, 360), 0.75),
        ((300, 200), (300, 200), 1),
        ((2000, 1), (480, 1), 0.24),
    ],
)
def test_pictures_are_brought_to_a_size_to_look_at(
    size: tuple[int, int], expected: tuple[int, int], factor: float
) -> None:
    fitted, scale = fit(Image.new("L", size))
    assert (fitted.size, scale, fitted.mode) == (expected, factor, "RGB")
