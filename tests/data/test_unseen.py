"""Held-out categories: none of them is trained on, all of them are asked about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import toy

from vilam.data.records import ImageRecord, Region
from vilam.data.store import read_card, write_card
from vilam.data.unseen import unseen_categories, without_unseen
from vilam.errors import VilamError

CATEGORIES = ("cell", "bead", "dust", "hair")


def image(number: int, categories: tuple[str, ...], split: str = "train") -> ImageRecord:
    regions = tuple(Region(f"{number} {i}", (0.0, 0.0, 1.0, 1.0), name) for i, name in enumerate(categories))
    return ImageRecord(str(number), split, b"", 2, 2, "made-up", "CC0", (), regions)


def test_those_of_a_list_stand_in_the_order_of_the_set() -> None:
    assert unseen_categories(CATEGORIES, ["dust", "cell"], 0) == ("cell", "dust")
    assert unseen_categories(CATEGORIES, None, 0) == ()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_so_many_are_drawn_by_the_seed(count: int) -> None:
    draws = [unseen_categories(CATEGORIES, count, seed) for seed in range(40)]
    assert {len(each) for each in draws} == {count} and len({*draws}) > 3
    assert draws == [unseen_categories(CATEGORIES[::-1], count, seed)[::-1] for seed in range(40)]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["cell", "dog"], "unknown dog: choose of bead, cell"),
        (4, "all 4 categories are held out"),
        (99, "all 4 categories are held out"),
        ([*CATEGORIES], "all 4 categories are held out"),
    ],
)
def test_what_cannot_be_held_out_is_one_line(asked: list[str] | int, told: str) -> None:
    with pytest.raises(VilamError, match=f"prepare.unseen: {told}"):
        unseen_categories(CATEGORIES, asked, 0)


def test_train_alone_holds_none_of_them() -> None:
    images = [
        image(0, ("cell", "dust", "cell")),
        image(1, ("dust",)),
        image(2, ()),
        image(3, ("dust", "cell"), "val"),
        image(4, ("dust",), "test"),
    ]
    found = list(without_unseen(iter(images), ("dust",)))
    assert [[region.region_id for region in record.regions] for record in found] == [
        ["0 0", "0 2"],
        [],
        ["3 0", "3 1"],
        ["4 0"],
    ]
    assert list(without_unseen(iter(images), ())) == images


def test_the_card_remembers_them(tmp_path: Path) -> None:
    card = replace(toy.card(), unseen=("disc",))
    write_card(card, tmp_path)
    assert read_card(tmp_path) == card
