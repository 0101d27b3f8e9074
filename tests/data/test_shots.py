"""Few-shot draws: as many of each category as asked for, by seed, of every region alike."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilam.data import shots
from vilam.data.records import ImageRecord, Region
from vilam.data.shots import draw_shots


def image(number: int, categories: str, split: str = "train") -> ImageRecord:
    """An image with a region of each of the categories, one letter each."""
    regions = tuple(
        Region(f"{split} {number} {i}", (0.0, 0.0, 1.0, 1.0), category) for i, category in enumerate(categories)
    )
    return ImageRecord(f"{split} {number}", split, b"", 2, 2, "made-up", "CC0", (), regions)


def drawn(images: list[ImageRecord], count: int | None, seed: int = 0) -> list[ImageRecord]:
    return list(draw_shots(iter(images), count, seed))


def ids(records: list[ImageRecord]) -> set[str]:
    return {region.region_id for record in records for region in record.regions}


IMAGES = st.lists(st.text("abc", max_size=6), min_size=1, max_size=12)


@settings(max_examples=60)
@given(IMAGES, st.integers(1, 6), st.integers(0, 5))
def test_every_category_has_as_many_as_asked_for_or_all(categories: list[str], k: int, seed: int) -> None:
    images = [image(number, each) for number, each in enumerate(categories)]
    found = drawn(images, k, seed)
    count = Counter(region.category for record in found for region in record.regions)
    assert count == {name: min(k, total) for name, total in Counter("".join(categories)).items()}
    assert all(record.regions for record in found)
    assert ids(found) <= ids(images)


@settings(max_examples=30)
@given(IMAGES, st.integers(1, 4), st.permutations(range(12)))
def test_the_order_of_images_does_not_matter(categories: list[str], k: int, order: list[int]) -> None:
    images = [image(number, each) for number, each in enumerate(categories)]
    turned = [images[i] for i in order if i < len(images)]
    assert ids(drawn(images, k)) == ids(drawn(turned, k))


@settings(max_examples=30)
@given(IMAGES, st.integers(1, 4), st.integers(0, 3))
def test_a_smaller_draw_is_part_of_a_larger(categories: list[str], k: int, seed: int) -> None:
    images = [image(number, each) for number, each in enumerate(categories)]
    assert ids(drawn(images, k, seed)) <= ids(drawn(images, k + 1, seed))


def test_few_images_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many that come by: what is drawn is the same however few are spared."""
    images = [image(number, "ab") for number in range(500)]
    expected = drawn(images, 3)
    monkeypatch.setattr(shots, "SPARE", 0)
    sizes: list[int] = []
    wanted = shots._wanted
    monkeypatch.setattr(shots, "_wanted", lambda held, lots: sizes.append(len(held)) or wanted(held, lots))
    assert drawn(images, 3) == expected and max(sizes) <= 13


def test_other_splits_stay_as_they_are() -> None:
    images = [image(0, "aab"), image(0, "aab", "val"), image(1, "ab"), image(0, "", "test")]
    found = drawn(images, 1)
    assert [record for record in found if record.split != "train"] == [images[1], images[3]]


def test_without_shots_nothing_is_left_out() -> None:
    images = [image(0, "aab"), image(1, "")]
    assert drawn(images, None) == images


def test_every_region_is_drawn_as_often(subtests: pytest.Subtests) -> None:
    """Over 3,000 seeds, 2 of 6: a third of the times each."""
    images = [image(0, "aaa"), image(1, "aaa")]
    count = Counter(region_id for seed in range(3000) for region_id in ids(drawn(images, 2, seed)))
    for region_id in ids(images):
        with subtests.test(region_id):
            assert count[region_id] / 3000 == pytest.approx(1 / 3, abs=0.04)
