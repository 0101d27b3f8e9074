"""Official splits by any name, divisions that keep copies together, no empty split."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vilam.data.readers.dividing import divided as divided_lists
from vilam.data.readers.dividing import group, split_name
from vilam.data.readers.source import ALL


def divided(pictures: list[tuple[str, str]], together: str | None = None) -> list[str]:
    """The split of each picture of (official split, name)."""
    return divided_lists([split for split, _ in pictures], [name for _, name in pictures], together)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *[(name, "train") for name in ("train", "Train", "TRAINING", "trn")],
        *[(name, "val") for name in ("valid", "Validation", "dev", "VAL")],
        *[(name, "test") for name in ("Test", "testing")],
        *[("testA", "testA"), ("day 2", "day_2"), ("val2017-mini", "val2017_mini")],
    ],
)
def test_usual_names_of_splits(name: str, split: str) -> None:
    assert split_name(name) == split


def test_official_splits_are_kept() -> None:
    for splits in (["train", "val", "test"], ["val", "testA", "testB"], ["val"], ["train", "val", "testA"]):
        assert divided([(split, f"{split}{i}") for split in splits for i in range(5)]) == [
            s for s in splits for _ in range(5)
        ]


def test_beside_val_and_test_undivided_pictures_are_train() -> None:
    assert divided([(ALL, "a"), ("val", "b"), ("test", "c")]) == ["train", "val", "test"]


def test_without_test_val_is_held_out_and_train_divided() -> None:
    pictures = [("train", f"t{i}") for i in range(200)] + [("val", f"v{i}") for i in range(20)]
    found = divided(pictures)
    assert found[200:] == ["test"] * 20 and set(found[:200]) == {"train", "val"}
    assert 8 <= found.count("val") <= 40


def test_without_val_a_tenth_of_train_becomes_val() -> None:
    found = divided([("train", f"t{i}") for i in range(200)] + [("test", f"x{i}") for i in range(20)])
    assert found[200:] == ["test"] * 20 and set(found[:200]) == {"train", "val"}


@given(st.integers(3, 40), st.integers(0, 1000))
def test_no_split_is_empty(count: int, start: int) -> None:
    for split in (ALL, "train"):
        splits = divided([(split, f"image{start + i}") for i in range(count)])
        assert {*splits} == {"train", "val", "test"}


@given(st.permutations(range(12)))
def test_the_order_of_pictures_does_not_matter(order: list[int]) -> None:
    names = [f"image{i}" for i in range(12)]
    expected = dict(zip(names, divided([(ALL, name) for name in names]), strict=True))
    shuffled = [names[i] for i in order]
    assert dict(zip(shuffled, divided([(ALL, name) for name in shuffled]), strict=True)) == expected


def test_large_sets_are_divided_8_to_1_to_1() -> None:
    counts = Counter(divided([(ALL, f"{i}") for i in range(5000)]))
    assert counts["val"] == pytest.approx(500, abs=80) and counts["test"] == pytest.approx(500, abs=80)


def test_copies_frames_and_slices_stay_together() -> None:
    names = [f"a/{film}_{kind}.rf.{copy:032x}" for film in range(20) for kind in ("jpg",) for copy in range(3)]
    names += [f"film{film}_frame_{number:05d}" for film in range(20) for number in range(5)]
    splits = dict(zip(names, divided([(ALL, name) for name in names]), strict=True))
    for names_together in (names[:60], names[60:160]):
        by_group: dict[str, set[str]] = {}
        for name in names_together:
            by_group.setdefault(group(name), set()).add(splits[name])
        assert len(by_group) == 20 and all(len(own) == 1 for own in by_group.values())


@pytest.mark.parametrize(
    ("pattern", "owner"),
    [
        ("clips/kitchen{owner}/frame_{number:05d}", "clips/kitchen{owner}"),
        ("CT-{owner}/SLICE{number}", "CT-{owner}"),
        ("Video{owner}_{number:05d}", "/Video{owner}"),
        ("day2/seq_{owner}-{number}", "day2/seq_{owner}"),
        ("Patient {owner}/{number:03d}", "Patient {owner}"),
        ("cases/case_{owner}/left/cam_{number}", "cases/case_{owner}"),
        ("sub-{owner}/scan_1/scan_1_slice{number}", "sub-{owner}"),
    ],
)
def test_frames_and_slices_are_known_by_their_folder_or_by_what_is_numbered(pattern: str, owner: str) -> None:
    pictures = [(one, number) for one in range(20) for number in range(4)]
    names = [pattern.format(owner=one, number=number) for one, number in pictures]
    assert [*map(group, names)] == [owner.format(owner=one) for one, _ in pictures]
    by_owner: dict[int, set[str]] = {}
    for (one, _), split in zip(pictures, divided([(ALL, name) for name in names]), strict=True):
        by_owner.setdefault(one, set()).add(split)
    assert all(len(own) == 1 for own in by_owner.values()) and set.union(*by_owner.values()) == {"train", "val", "test"}


@pytest.mark.parametrize(
    "name",
    [
        "frame_0001",
        "images/000001",
        "apple/image_0001",
        "apple/img3",
        "case_0001",
        "series/0001",
        "suitcase1_2",
        "2024-05",
    ],
)
def test_numbers_alone_do_not_keep_pictures_together(name: str) -> None:
    assert group(name) == name


def test_the_frames_of_one_film_are_divided() -> None:
    assert {*divided([(ALL, f"film_frame_{i:04d}") for i in range(40)])} == {"train", "val", "test"}


def test_a_pattern_of_a_recipe_comes_first() -> None:
    found = divided([(ALL, f"p{i % 5}_{i}") for i in range(50)], "^(p[0-9])")
    assert all(len({found[i] for i in range(50) if i % 5 == p}) == 1 for p in range(5))
