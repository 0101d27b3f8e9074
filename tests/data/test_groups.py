"""Whole categories: those that an image has, and some that it lacks, of sets in which every object is marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from vilam.data.groups import with_categories
from vilam.data.readers.source import Source
from vilam.data.records import Group, ImageRecord, Region
from vilam.data.shots import draw_shots
from vilam.data.unseen import without_unseen
from vilam.errors import VilamError

SOURCE = Source("toy", ("ant", "bee", "cat", "dog"), {}, ("train", "test"), (), 2, iter(()), is_exhaustive=True)


def image(number: int, categories: str, split: str = "train") -> ImageRecord:
    """An image with a region of each of the categories, by their first letters."""
    names = {name[0]: name for name in SOURCE.categories}
    regions = (Region(f"{number} {i}", (0, 0, 1, 1), names[each]) for i, each in enumerate(categories))
    return ImageRecord(f"image {number}", split, b"", 2, 2, "toy", "CC0", (), tuple(regions))


def grouped(
    *images: ImageRecord, absent: int | None = 1, unseen: tuple[str, ...] = (), seed: int = 0
) -> Iterator[ImageRecord]:
    return with_categories(iter(images), SOURCE, unseen, absent, seed)


def test_what_is_there_means_all_of_it_and_what_is_not_means_nothing() -> None:
    (record,) = grouped(image(1, "aba"), absent=2)
    assert record.groups[:2] == (
        Group("every ant", "ant", ("1 0", "1 2"), "class", "rule"),
        Group("every bee", "bee", ("1 1",), "class", "rule"),
    )
    assert {group.text for group in record.groups[2:]} == {"cat", "dog"}
    assert all(group.region_ids == () for group in record.groups[2:])


def test_absent_ones_are_drawn_by_seed_and_image_alone() -> None:
    images = [image(number, "a") for number in range(30)]
    drawn = [record.groups[1].text for record in grouped(*images)]
    assert {*drawn} == {"bee", "cat", "dog"}
    assert drawn == [record.groups[1].text for record in reversed(list(grouped(*reversed(images))))]
    assert drawn != [record.groups[1].text for record in grouped(*images, seed=1)]
    assert [len(record.groups) for record in grouped(*images[:2], absent=9)] == [4, 4]


def test_nothing_is_asked_where_nothing_shall_be() -> None:
    told = replace(image(1, "a"), groups=(Group("g", "the ants", ("1 0",)),))
    assert list(grouped(told, absent=None)) == [told]
    assert next(grouped(told, absent=0)).groups[0] == told.groups[0]


def test_what_is_held_out_is_not_spoken_of_in_train() -> None:
    images = image(1, "ab"), image(2, "ab", "test")
    train, test = without_unseen(grouped(*images, absent=9, unseen=("bee", "cat")), ("bee", "cat"))
    assert {group.text for group in train.groups} == {"ant", "dog"}
    assert {group.text for group in test.groups} == {"ant", "bee", "cat", "dog"}


def test_what_is_not_all_marked_is_not_spoken_of() -> None:
    (record,) = grouped(replace(image(1, "ab"), unmarked=("bee", "dog")), absent=9)
    assert [(group.text, len(group.region_ids)) for group in record.groups] == [("ant", 1), ("cat", 0)]


def test_a_group_of_which_a_region_was_not_drawn_falls_away() -> None:
    few = list(draw_shots(grouped(image(1, "aab"), image(2, "b"), absent=0), 1, seed=0))
    assert {group.text for record in few for group in record.groups} == {"bee"}


def test_a_set_that_leaves_objects_unmarked_is_refused() -> None:
    rows = with_categories(iter([image(1, "a")]), replace(SOURCE, is_exhaustive=False), (), 1, 0)
    with pytest.raises(VilamError, match=r"absent_categories: not every object of toy is marked") as error:
        next(rows)
    assert "\n" not in str(error.value)
