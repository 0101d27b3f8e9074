"""Random choices that depend only on names and a seed."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

import numpy as np
import pytest

from vilam import draws

NAMES = [f"image {i}" for i in range(20_000)]


def test_a_number_is_the_hash_of_its_parts_joined_by_line_breaks() -> None:
    expected = blake2b(b"42\nrec_box\nr\xc3\xa9gion\n", digest_size=8).digest()
    assert draws.number(42, "rec_box", "région", "") == int.from_bytes(expected, "big")


def test_fractions_are_uniform_and_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([draws.fraction(7, name) for name in NAMES])
    histogram = np.histogram(values, bins=20, range=(0, 1))[0]
    assert values.min() >= 0 and values.max() < 1
    assert ((histogram - 1000) ** 2 / 1000).sum() < 43.8, "chi-squared of 19 degrees of freedom, p = 0.001"
    monkeypatch.setattr(draws, "number", lambda *_: 2**64 - 1)
    assert draws.fraction("largest") < 1 and draws.bucket(10, "largest") == 9


def test_fractions_of_two_purposes_are_uncorrelated_and_seeds_differ() -> None:
    one, other = (np.array([draws.fraction(*parts, name) for name in NAMES]) for parts in ((0, "a"), (0, "b")))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
    assert draws.number(0, "a", "x") != draws.number(1, "a", "x")


def test_buckets_are_about_equally_large() -> None:
    counts = Counter(draws.bucket(10, name) for name in NAMES)
    assert sorted(counts) == [*range(10)] and all(1850 < count < 2150 for count in counts.values())


def test_a_seed_fits_into_63_bits() -> None:
    assert all(0 <= draws.seed_of(name) < 2**63 for name in NAMES[:100])


def test_some_returns_different_items_or_all_of_them() -> None:
    rng = np.random.default_rng(0)
    assert len({*draws.some(NAMES, 50, rng)}) == 50
    assert sorted(draws.some(NAMES[:3], 50, rng)) == NAMES[:3]


def test_each_epoch_has_every_name_once_in_another_order() -> None:
    epochs = draws.Epochs(NAMES[:7], seed=1, purpose=2)
    names = epochs.at(0, 21)
    assert [sorted(names[start : start + 7]) for start in (0, 7, 14)] == [NAMES[:7]] * 3
    assert len({tuple(names[start : start + 7]) for start in (0, 7, 14)}) == 3
    assert epochs.at(10, 3) == names[10:13] and draws.Epochs(NAMES[:7], 1, 3).at(0, 7) != names[:7]
