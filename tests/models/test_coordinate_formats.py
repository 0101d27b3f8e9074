"""Coordinates in the formats of checkpoints and back, against plain arithmetic in pixels of the original image."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.kosmos2.processing_kosmos2 import coordinate_to_patch_index, patch_index_to_coordinate
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize  # Qwen3-VL uses it too

from vilam.models.coordinate_formats import THOUSANDTHS, Frame
from vilam.models.hf.conventions import read_convention

PIXELS, LOCATIONS, HUNDREDTHS, CELLS = (
    read_convention(name, Path()).coordinate_format for name in ("qwen2_5_vl", "paligemma", "llava", "kosmos-2")
)
FORMATS = dict(thousandths=THOUSANDTHS, pixels=PIXELS, locations=LOCATIONS, hundredths=HUNDREDTHS, cells=CELLS)
BINS = {THOUSANDTHS: 1000, LOCATIONS: 1023, HUNDREDTHS: 100, CELLS: 32}  # of a side; pixels depend on the frame
ROUNDING = 1 + 1e-6
NUMBER = r"[0-9]+(?:\.[0-9]+)?"
every_format = pytest.mark.parametrize("coordinate_format", FORMATS.values(), ids=FORMATS)
at_random = settings(max_examples=40, deadline=None)


class View(NamedTuple):
    """An image's size, what the frame covers (padding too), both in pixels of the image, and the frame."""

    size: tuple[int, int]
    covered: tuple[int, int]
    frame: Frame


def filled(size, side):
    return View(size, size, Frame.filled(side, side))


def padded(size, side):
    return View(size, (max(size), max(size)), Frame.padded(side, *size))


def smart(size, limits):
    height, width = smart_resize(size[1], size[0], **limits)
    return View(size, size, Frame.filled(width, height))


QWEN = [{"factor": 28}, {"factor": 32, "min_pixels": 65_536, "max_pixels": 16_777_216}]  # Qwen3-VL's own limits
QWEN += [{"factor": factor, "min_pixels": 4 * factor**2, "max_pixels": 64 * factor**2} for factor in (28, 32)]
FRACTION, THOUSANDTH, SIDE = st.floats(0, 1), st.integers(0, 1000), st.sampled_from([224, 336, 448])
EXTREME = st.sampled_from([(7, 900), (900, 7), (1333, 41), (41, 1333), (1, 1), (1, 200), (640, 480), (486, 640)])
SIZE = EXTREME | st.tuples(st.integers(1, 3000), st.integers(1, 3000)).filter(lambda s: max(s) <= 200 * min(s))
VIEW = st.builds(filled, SIZE, SIDE) | st.builds(padded, SIZE, SIDE) | st.builds(smart, SIZE, st.sampled_from(QWEN))
PAIR, RANGE = st.tuples(FRACTION, FRACTION), st.lists(THOUSANDTH, min_size=2, max_size=2, unique=True).map(sorted)
POLYGON = st.lists(st.tuples(THOUSANDTH, THOUSANDTH).map(list), min_size=1, max_size=6).map(lambda ps: ps + ps[:1])


def bin_sizes(view, coordinate_format):
    """Width and height of a bin of the format, in pixels of the image."""
    counts = (view.frame.width, view.frame.height) if coordinate_format is PIXELS else (BINS[coordinate_format],) * 2
    return [pixels / count for pixels, count in zip(view.covered, counts, strict=True)]


def errors(view, coordinate_format, found, pixels):
    """The errors of coordinates, found as fractions of the image's sides, each in bins."""
    pairs, size = enumerate(zip(found, pixels, strict=True)), bin_sizes(view, coordinate_format)
    return [abs(fraction * view.size[i % 2] - true) / size[i % 2] for i, (fraction, true) in pairs]


def there_and_back(view, coordinate_format, box):
    """A box in pixels as text and back, in fractions of the image's sides."""
    text = coordinate_format.box_text([value / view.size[i % 2] for i, value in enumerate(box)], view.frame)
    found = coordinate_format.read_box(text, view.frame)
    assert found is not None
    return found


def make_box(view, coordinate_format, starts, parts, thin=""):
    """A box in pixels, at most a bin thick along the axes of ``thin``; starts and parts are fractions 0..1."""
    first, last = [], []
    for axis, side, size, start, part in zip(
        "xy", view.size, bin_sizes(view, coordinate_format), starts, parts, strict=True
    ):
        thickness = part * (min(size, side) if axis in thin else side)
        first.append(start * (side - thickness))
        last.append(min(first[-1] + thickness, side))
    return first + last


def is_thick(view, coordinate_format, box):
    """Whether the error of each coordinate is half a bin at most; a box in one row of cells loses both its centres."""
    sizes = [(box[i + 2] - box[i]) / size for i, size in enumerate(bin_sizes(view, coordinate_format))]
    return ([min(sizes) > ROUNDING] * 2 if coordinate_format is CELLS else [size >= ROUNDING for size in sizes]) * 2


@every_format
@at_random
@given(VIEW, st.lists(PAIR, min_size=1, max_size=6))
def test_points_come_back_within_half_a_bin(coordinate_format, view, points):
    pixels = [fraction * side for point in points for fraction, side in zip(point, view.size, strict=True)]
    found = coordinate_format.read_points(coordinate_format.points_text(points, view.frame), view.frame)
    assert found is not None and len(found) == len(points)
    assert (
        max(errors(view, coordinate_format, [fraction for point in found for fraction in point], pixels))
        <= 0.5 * ROUNDING
    )


@every_format
@at_random
@given(VIEW, PAIR, PAIR)
def test_boxes_of_a_bin_or_more_come_back_within_half_a_bin(coordinate_format, view, starts, parts):
    box = make_box(view, coordinate_format, starts, parts)
    found, thick = there_and_back(view, coordinate_format, box), is_thick(view, coordinate_format, box)
    off = zip(errors(view, coordinate_format, found, box), thick, strict=True)
    assert all(error <= 0.5 * ROUNDING for error, counts in off if counts)


@every_format
@at_random
@given(VIEW, PAIR, PAIR)
def test_boxes_thinner_than_a_bin_come_back_within_a_bin(coordinate_format, view, starts, parts):
    box = make_box(view, coordinate_format, starts, parts, thin="xy")
    assert max(errors(view, coordinate_format, there_and_back(view, coordinate_format, box), box)) <= ROUNDING


@at_random
@given(VIEW, PAIR, PAIR, st.sampled_from("xy"))
def test_boxes_in_one_row_or_column_of_cells_come_back_within_a_cell(view, starts, parts, axis):
    box = make_box(view, CELLS, starts, parts, thin=axis)
    assert max(errors(view, CELLS, there_and_back(view, CELLS, box), box)) <= ROUNDING


@every_format
@at_random
@given(VIEW, PAIR, PAIR, st.sampled_from(["", "x", "y", "xy"]))
def test_a_box_that_was_read_has_an_area(coordinate_format, view, starts, parts, thin):
    x1, y1, x2, y2 = there_and_back(view, coordinate_format, make_box(view, coordinate_format, starts, parts, thin))
    assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1


def test_a_strip_along_padding_and_one_without_width_between_cells_have_an_area_when_they_are_read():
    _, y1, _, y2 = there_and_back(padded((640, 486), 336), HUNDREDTHS, (64, 484, 128, 486))
    x1, _, x2, _ = there_and_back(filled((640, 480), 224), CELLS, (320, 48, 320, 432))
    assert (y1 < y2, x1 < x2) == (True, True)


@every_format
@at_random
@given(VIEW, RANGE, RANGE, POLYGON, POLYGON)
def test_encoding_and_decoding_moves_numbers_by_half_a_bin_at_most_and_keeps_the_rest(
    coordinate_format, view, x, y, a, b
):
    text = f"It is at {[x[0], y[0], x[1], y[1]]}; parts: {a} and {b}."
    back = coordinate_format.decode(coordinate_format.encode(text, view.frame), view.frame)
    assert re.sub(NUMBER, "#", back) == re.sub(NUMBER, "#", text)
    numbers, found = ([float(number) for number in re.findall(NUMBER, each)] for each in (text, back))
    counts = is_thick(
        view, coordinate_format, [number * view.size[i % 2] / 1000 for i, number in enumerate(numbers[:4])]
    )
    for i, (before, after) in enumerate(zip(numbers, found, strict=True)):
        size = bin_sizes(view, coordinate_format)[i % 2] * 1000 / view.size[i % 2]
        # Half a bin, and half of the last decimal that is written.
        assert (i < 4 and not counts[i]) or abs(after - before) <= (size * ROUNDING + 1e-4) / 2
    end = 4 + 2 * len(a)
    assert found[4:6] == found[end - 2 : end] and found[end : end + 2] == found[-2:]  # polygons are still closed
    assert found[0] < found[2] and found[1] < found[3]


SENTENCE = "A dog [120, 300, 720, 900]; 2 parts: [[100, 220], [510, 260], [100, 220]] and [[600, 610], [740, 990]]."
ENCODED = {  # the frame of an image of 448 x 336, the sentence in the format, and as it is read, by plain arithmetic
    THOUSANDTHS: (Frame.filled(448, 448), SENTENCE, SENTENCE),
    PIXELS: (
        Frame.filled(448, 336),
        "A dog [54, 101, 323, 302]; 2 parts: [[45, 74], [228, 87], [45, 74]] and [[269, 205], [332, 333]].",
        "A dog [120.5357, 300.5952, 720.9821, 898.8095]; "
        "2 parts: [[100.4464, 220.2381], [508.9286, 258.9286], [100.4464, 220.2381]] "
        "and [[600.4464, 610.119], [741.0714, 991.0714]].",
    ),
    LOCATIONS: (
        Frame.filled(448, 448),
        "A dog <loc0307><loc0123><loc0921><loc0737>; 2 parts: [<loc0225><loc0102> <loc0266><loc0522> "
        "<loc0225><loc0102>] and [<loc0624><loc0614> <loc1013><loc0757>].",
        "A dog [120.2346, 300.0978, 720.4301, 900.2933]; "
        "2 parts: [[99.7067, 219.9413], [510.2639, 260.0196], [99.7067, 219.9413]] "
        "and [[600.1955, 609.9707], [739.9804, 990.2248]].",
    ),
    HUNDREDTHS: (
        Frame.padded(336, 448, 336),
        "A dog [0.12, 0.35, 0.72, 0.80]; 2 parts: [[0.10, 0.29], [0.51, 0.32], [0.10, 0.29]] and "
        "[[0.60, 0.58], [0.74, 0.87]].",
        "A dog [120, 300, 720, 900]; "
        "2 parts: [[100, 220], [510, 260], [100, 220]] and [[600, 606.6667], [740, 993.3333]].",
    ),
    CELLS: (
        Frame.filled(224, 224),
        "A dog <object><patch_index_0291><patch_index_0919></object>; 2 parts: [<patch_index_0227> "
        "<patch_index_0272> <patch_index_0227>] and [<patch_index_0627> <patch_index_1015>].",
        "A dog [109.375, 296.875, 734.375, 890.625]; "
        "2 parts: [[109.375, 234.375], [515.625, 265.625], [109.375, 234.375]] "
        "and [[609.375, 609.375], [734.375, 984.375]].",
    ),
}


@every_format
def test_a_whole_sentence_is_written_and_read(coordinate_format):
    frame, encoded, decoded = ENCODED[coordinate_format]
    assert coordinate_format.encode(SENTENCE, frame) == encoded
    assert coordinate_format.decode(encoded, frame) == decoded


@every_format
def test_lost_spaces_before_and_within_coordinates_are_put_back(coordinate_format):
    frame, encoded, decoded = ENCODED[coordinate_format]
    lost = re.sub(r" (?=[\[<])|(?<=,) ", "", encoded)
    assert lost != encoded and coordinate_format.decode(lost, frame) == decoded


def test_a_lost_space_after_coordinates_is_put_back():
    decoded = THOUSANDTHS.decode("2 parts:[[1,2],[3,4]]and [[5,6],[7,8]].", Frame.filled(224, 224))
    assert decoded == "2 parts: [[1, 2], [3, 4]] and [[5, 6], [7, 8]]."


@at_random
@given(st.lists(st.integers(0, 5000), min_size=4, max_size=4))
def test_cells_are_those_of_kosmos(numbers):
    (x1, x2), (y1, y2) = sorted(numbers[::2]), sorted(numbers[1::2])
    box, frame = (x1 / 5001, y1 / 5001, (x2 + 1) / 5001, (y2 + 1) / 5001), Frame.filled(224, 224)
    first, last = coordinate_to_patch_index(box, 32)
    text = f"<object><patch_index_{first:04d}><patch_index_{last:04d}></object>"
    assert CELLS.box_text(box, frame) == text
    assert CELLS.read_box(text, frame) == pytest.approx(patch_index_to_coordinate(first, last, 32))


def test_pixels_of_a_long_panorama_are_read():
    frame = smart((12_000, 1_000), {"max_pixels": 12_845_056}).frame  # the limit of Qwen2.5-VL's own processor
    box = (0.1, 0.2, 0.9, 0.95)
    assert PIXELS.read_box(PIXELS.box_text(box, frame), frame) == pytest.approx(box, abs=0.5 / frame.height)


def test_coordinates_outside_of_the_image_are_read_as_its_edge():
    frame = Frame.padded(336, 448, 336)
    assert HUNDREDTHS.decode("[0.00, 0.00, 1.00, 1.00]", frame) == "[0, 0, 1000, 1000]"
    assert PIXELS.decode("[[9999, 0]]", frame) == "[[1000, 0]]"


@every_format
@at_random
@given(VIEW, st.text("ab ,.:[]()<>/\n\té#_") | st.just("<object></object> patch_index loc"))
def test_text_without_coordinates_is_unchanged(coordinate_format, view, text):
    assert coordinate_format.encode(text, view.frame) == coordinate_format.decode(text, view.frame) == text


@every_format
def test_text_that_merely_looks_like_coordinates_is_unchanged(coordinate_format):
    frame = Frame.padded(336, 640, 480)
    texts = ["[1, 2, 3]", "[1, 2, 3, 4, 5]", "[[1, 2], [3]]", "[1, 2; 3, 4]", "(1, 2, 3, 4)", "[-1, 2, 3, 4]", "[[]]"]
    texts += ["[0.1, 0.2, 0.3]", "<loc0001><loc0002><loc0003>", "[<loc0001>]", "1, 2, 3, 4"]
    texts += ["<patch_index_0001><patch_index_0002>", "<object><patch_index_0001></object>"]
    assert [text for text in [*texts, "[0.1, 0.2, 3.5, 0.4]"] if coordinate_format.decode(text, frame) != text] == []
    texts += ["[1,2,3,4]", "[01, 2, 3, 4]", "[1, 2, 3, 1001]"]
    assert [text for text in texts if coordinate_format.encode(text, frame) != text] == []
