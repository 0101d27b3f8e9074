"""What the numbers of a whole set tell."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vilam.data.readers.source import RawRecord
from vilam.data.records import Expression, ImageRecord, Region
from vilam.data.sanity import Statistics, category_notes
from vilam.geometry.boxes import Box


def notes(boxes: list[Box], size: tuple[int, int] = (100, 80), refuses_long: bool = False) -> list[tuple[str, bool]]:
    regions = tuple(Region(str(number), box, "cell") for number, box in enumerate(boxes))
    statistics = Statistics()
    statistics.add(RawRecord(ImageRecord("a", "train", b"", *size, "set", "CC0", (), regions), "row"))
    return [(note.text, note.blocks) for note in statistics.notes(refuses_long)]


def uniform(count: int = 60) -> list[Box]:
    """Boxes anywhere in a picture of 100 x 80."""
    rng = np.random.default_rng(3)
    corners = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1) * (90, 70) + (0, 0)
    return [(x1, y1, x2 + 2, y2 + 2) for (x1, y1), (x2, y2) in corners.tolist()]


def test_good_boxes_are_not_odd() -> None:
    assert notes(uniform()) == [] and notes([]) == []


def test_fractions_read_as_pixels() -> None:
    ((text, blocks),) = notes([(x1 / 100, y1 / 80, x2 / 100, y2 / 80) for x1, y1, x2, y2 in uniform()])
    assert text.startswith("60 of 60 boxes lie in the first pixels: coordinates are fractions") and blocks


def test_boxes_of_less_than_a_pixel() -> None:
    ((text, blocks),) = notes([(x1, y1, x1 + 0.3, y1 + 0.3) for x1, y1, _, _ in uniform()])
    assert "smaller than a pixel" in text and blocks


def test_corners_read_as_sizes() -> None:
    ((text, blocks),) = notes([(x1, y1, x1 + x2, y1 + y2) for x1, y1, x2, y2 in uniform()])
    assert "leave their picture: is x1 y1 x2 y2 read as x y width height" in text and blocks


def test_corners_read_as_centre_and_size() -> None:
    corners = [(x / 100, y / 80, X / 100, Y / 80) for x, y, X, Y in uniform()]
    boxes = [(100 * (a - c / 2), 80 * (b - d / 2), 100 * (a + c / 2), 80 * (b + d / 2)) for a, b, c, d in corners]
    ((text, blocks),) = notes(boxes)
    assert "boxes leave their picture" in text and "or as centre and size" in text and blocks


def test_boxes_of_the_whole_picture() -> None:
    ((text, blocks),) = notes([(0, 0, 100, 80)] * 5)
    assert "cover the whole picture" in text and not blocks


@pytest.mark.parametrize(("size", "odd"), [((4001, 20), True), ((4000, 20), False), ((20, 5000), True)])
@pytest.mark.parametrize(
    ("refuses_long", "who"), [(False, "Qwen-VL would refuse them"), (True, "the model of params.yaml refuses them")]
)
def test_long_pictures(size: tuple[int, int], odd: bool, refuses_long: bool, who: str) -> None:
    text = f"1 pictures are more than 200 times as long as wide, such as a: {who}: cut them"
    assert notes([], size, refuses_long) == ([(text, refuses_long)] if odd else [])


def test_long_expressions() -> None:
    texts = tuple(Expression("a" * length, "phrase", "human") for length in (1000, 1001, 2000))
    region = Region("0", (1, 1, 9, 9), "cell", (), (), texts)
    statistics = Statistics()
    statistics.add(RawRecord(ImageRecord("a", "train", b"", 100, 80, "set", "CC0", (), (region,)), "row"))
    (note,) = statistics.notes()
    assert note.text.startswith("2 expressions have more than 1000 characters, such as one of a: ") and not note.blocks


def test_large_pictures() -> None:
    assert "more than 50 million pixels" in notes([], (9000, 9000))[0][0]


@pytest.mark.parametrize(
    ("counts", "parts"),
    [
        ({"cat": 5, "dog": 5}, []),
        ({"cat": 990, "dog": 10}, ["990 of 1000 objects are of cat"]),
        ({"cat": 5, "dog": 5, "cow": 0}, ["1 categories have no object: cow"]),
        (
            {"cat": 5, "dog": 5, **dict.fromkeys(("a", "b", "c", "d", "e", "f"), 0)},
            ["6 categories have no object: a, b, c, d, e, …"],
        ),
        ({"Hard Hat": 5, "hard-hat": 5, "hardhat ": 3}, ["'Hard Hat' and 'hard-hat' and 'hardhat ' differ only in"]),
    ],
)
def test_categories(counts: dict[str, int], parts: list[str]) -> None:
    found = list(category_notes(Counter(counts)))
    assert len(found) == len(parts) and not any(note.blocks for note in found)
    assert all(part in note.text for part, note in zip(parts, found, strict=True))
