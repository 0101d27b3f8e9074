"""The selection of `prepare`: shots, unseen categories, groups; choices depend only on the seed and on names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from vilam.data import selection
from vilam.data.card import read_card, write_card
from vilam.data.readers.source import Source
from vilam.data.records import Group, ImageRecord, Region
from vilam.data.selection import add_category_groups, sample_shots, unseen_categories, without_unseen
from vilam.errors import VilamError


def lettered_image(number: int, categories: str, split: str = "train") -> ImageRecord:
    """An image with a region of each of the categories, one letter each."""
    regions = tuple(
        Region(f"{split} {number} {i}", (0.0, 0.0, 1.0, 1.0), category) for i, category in enumerate(categories)
    )
    return ImageRecord(f"{split} {number}", split, b"", 2, 2, "made-up", "CC0", (), regions)


def sampled(images: list[ImageRecord], count: int | None, seed: int = 0) -> list[ImageRecord]:
    return list(sample_shots(iter(images), count, seed))


def ids(records: list[ImageRecord]) -> set[str]:
    return {region.region_id for record in records for region in record.regions}


IMAGES = st.lists(st.text("abc", max_size=6), min_size=1, max_size=12)


@settings(max_examples=60)
@given(IMAGES, st.integers(1, 6), st.integers(0, 5))
def test_every_category_has_the_number_of_shots_or_all_its_regions(categories: list[str], k: int, seed: int) -> None:
    images = [lettered_image(number, each) for number, each in enumerate(categories)]
    found = sampled(images, k, seed)
    count = Counter(region.category for record in found for region in record.regions)
    assert count == {name: min(k, total) for name, total in Counter("".join(categories)).items()}
    assert all(record.regions for record in found)
    assert ids(found) <= ids(images)


@settings(max_examples=30)
@given(IMAGES, st.integers(1, 4), st.permutations(range(12)))
def test_shots_do_not_depend_on_the_order_of_images(categories: list[str], k: int, order: list[int]) -> None:
    images = [lettered_image(number, each) for number, each in enumerate(categories)]
    reordered = [images[i] for i in order if i < len(images)]
    assert ids(sampled(images, k)) == ids(sampled(reordered, k))


@settings(max_examples=30)
@given(IMAGES, st.integers(1, 4), st.integers(0, 3))
def test_a_smaller_sample_of_shots_is_part_of_a_larger(categories: list[str], k: int, seed: int) -> None:
    images = [lettered_image(number, each) for number, each in enumerate(categories)]
    assert ids(sampled(images, k, seed)) <= ids(sampled(images, k + 1, seed))


def test_sampling_shots_holds_few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample is the same however few images are held."""
    images = [lettered_image(number, "ab") for number in range(500)]
    expected = sampled(images, 3)
    monkeypatch.setattr(selection, "SPARE", 0)
    sizes: list[int] = []
    needed = selection._needed
    monkeypatch.setattr(selection, "_needed", lambda held, chosen: sizes.append(len(held)) or needed(held, chosen))
    assert sampled(images, 3) == expected and max(sizes) <= 13


def test_sampling_shots_leaves_other_splits_unchanged() -> None:
    images = [
        lettered_image(0, "aab"),
        lettered_image(0, "aab", "val"),
        lettered_image(1, "ab"),
        lettered_image(0, "", "test"),
    ]
    found = sampled(images, 1)
    assert [record for record in found if record.split != "train"] == [images[1], images[3]]


def test_no_number_of_shots_keeps_all_records() -> None:
    images = [lettered_image(0, "aab"), lettered_image(1, "")]
    assert sampled(images, None) == images


def test_every_region_is_sampled_equally_often(subtests: pytest.Subtests) -> None:
    """Over 3,000 seeds, 2 of 6: a third of the times each."""
    images = [lettered_image(0, "aaa"), lettered_image(1, "aaa")]
    count = Counter(region_id for seed in range(3000) for region_id in ids(sampled(images, 2, seed)))
    for region_id in ids(images):
        with subtests.test(region_id):
            assert count[region_id] / 3000 == pytest.approx(1 / 3, abs=0.04)


NAMES = ("cell", "bead", "dust", "hair")


def numbered_image(number: int, categories: tuple[str, ...], split: str = "train") -> ImageRecord:
    regions = tuple(Region(f"{number} {i}", (0.0, 0.0, 1.0, 1.0), name) for i, name in enumerate(categories))
    return ImageRecord(str(number), split, b"", 2, 2, "made-up", "CC0", (), regions)


def test_unseen_categories_of_a_list_keep_the_order_of_the_data_set() -> None:
    assert unseen_categories(NAMES, ["dust", "cell"], 0) == ("cell", "dust")
    assert unseen_categories(NAMES, None, 0) == ()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_number_of_unseen_categories_is_chosen_by_the_seed(count: int) -> None:
    chosen = [unseen_categories(NAMES, count, seed) for seed in range(40)]
    assert {len(each) for each in chosen} == {count} and len({*chosen}) > 3
    assert chosen == [unseen_categories(NAMES[::-1], count, seed)[::-1] for seed in range(40)]


@pytest.mark.parametrize(
    ("unseen", "message"),
    [
        (["cell", "dog"], "unknown dog: choose from bead, cell"),
        (4, "all 4 categories are held out"),
        (99, "all 4 categories are held out"),
        ([*NAMES], "all 4 categories are held out"),
    ],
)
def test_impossible_unseen_categories_are_reported_in_one_line(unseen: list[str] | int, message: str) -> None:
    with pytest.raises(VilamError, match=f"prepare.unseen: {message}"):
        unseen_categories(NAMES, unseen, 0)


def test_unseen_categories_are_missing_only_in_train() -> None:
    images = [
        numbered_image(0, ("cell", "dust", "cell")),
        numbered_image(1, ("dust",)),
        numbered_image(2, ()),
        numbered_image(3, ("dust", "cell"), "val"),
        numbered_image(4, ("dust",), "test"),
    ]
    found = list(without_unseen(iter(images), ("dust",)))
    assert [[region.region_id for region in record.regions] for record in found] == [
        ["0 0", "0 2"],
        [],
        ["3 0", "3 1"],
        ["4 0"],
    ]
    assert list(without_unseen(iter(images), ())) == images


def test_the_card_keeps_the_unseen_categories(tmp_path: Path) -> None:
    card = replace(toy.card(), unseen=("disc",))
    write_card(card, tmp_path)
    assert read_card(tmp_path) == card


SOURCE = Source("toy", ("ant", "bee", "cat", "dog"), {}, ("train", "test"), (), 2, iter(()), is_exhaustive=True)


def image(number: int, categories: str, split: str = "train") -> ImageRecord:
    """An image with a region of each of the categories, by their first letters."""
    names = {name[0]: name for name in SOURCE.categories}
    regions = (Region(f"{number} {i}", (0, 0, 1, 1), names[each]) for i, each in enumerate(categories))
    return ImageRecord(f"image {number}", split, b"", 2, 2, "toy", "CC0", (), tuple(regions))


def grouped(
    *images: ImageRecord, absent: int | None = 1, unseen: tuple[str, ...] = (), seed: int = 0
) -> Iterator[ImageRecord]:
    return add_category_groups(iter(images), SOURCE, unseen, absent, seed)


def test_groups_name_all_regions_of_a_category_and_none_of_an_absent_one() -> None:
    (record,) = grouped(image(1, "aba"), absent=2)
    assert record.groups[:2] == (
        Group("every ant", "ant", ("1 0", "1 2"), "class", "rule"),
        Group("every bee", "bee", ("1 1",), "class", "rule"),
    )
    assert {group.text for group in record.groups[2:]} == {"cat", "dog"}
    assert all(group.region_ids == () for group in record.groups[2:])


def test_absent_categories_depend_on_seed_and_image_alone() -> None:
    images = [image(number, "a") for number in range(30)]
    absent = [record.groups[1].text for record in grouped(*images)]
    assert {*absent} == {"bee", "cat", "dog"}
    assert absent == [record.groups[1].text for record in reversed(list(grouped(*reversed(images))))]
    assert absent != [record.groups[1].text for record in grouped(*images, seed=1)]
    assert [len(record.groups) for record in grouped(*images[:2], absent=9)] == [4, 4]


def test_no_number_of_absent_categories_adds_no_groups() -> None:
    record = replace(image(1, "a"), groups=(Group("g", "the ants", ("1 0",)),))
    assert list(grouped(record, absent=None)) == [record]
    assert next(grouped(record, absent=0)).groups[0] == record.groups[0]


def test_unseen_categories_have_no_groups_in_train() -> None:
    images = image(1, "ab"), image(2, "ab", "test")
    train, test = without_unseen(grouped(*images, absent=9, unseen=("bee", "cat")), ("bee", "cat"))
    assert {group.text for group in train.groups} == {"ant", "dog"}
    assert {group.text for group in test.groups} == {"ant", "bee", "cat", "dog"}


def test_categories_with_unmarked_objects_have_no_groups() -> None:
    (record,) = grouped(replace(image(1, "ab"), unmarked=("bee", "dog")), absent=9)
    assert [(group.text, len(group.region_ids)) for group in record.groups] == [("ant", 1), ("cat", 0)]


def test_a_group_is_dropped_if_one_of_its_regions_is_not_sampled() -> None:
    few = list(sample_shots(grouped(image(1, "aab"), image(2, "b"), absent=0), 1, seed=0))
    assert {group.text for record in few for group in record.groups} == {"bee"}


def test_groups_of_a_source_with_unmarked_objects_are_refused() -> None:
    rows = add_category_groups(iter([image(1, "a")]), replace(SOURCE, is_exhaustive=False), (), 1, 0)
    with pytest.raises(VilamError, match=r"absent_categories: not every object of toy is marked") as error:
        next(rows)
    assert "\n" not in str(error.value)
