"""Random choices that depend only on names and a seed: the same on every machine, in any order, in any process."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def number(*parts: object) -> int:
    """An integer in [0, 2**64), the same for the same parts."""
    return int.from_bytes(blake2b("\n".join(map(str, parts)).encode(), digest_size=8).digest(), "big")


def fraction(*parts: object) -> float:
    """A number in [0, 1), the same for the same parts."""
    return (number(*parts) >> 11) / 2**53  # as many bits as a float has: it never rounds up to 1


def bucket(count: int, *parts: object) -> int:
    """An integer 0..count-1, the same for the same parts, such as the number of a split's tenth."""
    return int(fraction(*parts) * count)


def seed_of(*parts: object) -> int:
    """A seed below 2**63, the same for the same parts."""
    return number(*parts) >> 1


def some(items: Sequence[Item], count: int, rng: np.random.Generator) -> list[Item]:
    """``count`` random items, or all of them if there are fewer, in random order."""
    return [items[index] for index in rng.choice(len(items), size=min(count, len(items)), replace=False)]


class Epochs:
    """Names in endless epochs, each in another random order."""

    def __init__(self, names: Sequence[str], seed: int, purpose: int) -> None:
        """``purpose``: different numbers give different orders with one seed."""
        self.names, self.seed, self.purpose = names, seed, purpose
        self._epoch = -1

    def at(self, first: int, count: int) -> list[str]:
        """The ``count`` names from position ``first`` on."""
        return [self._name(position) for position in range(first, first + count)]

    def _name(self, position: int) -> str:
        epoch, index = divmod(position, len(self.names))
        if self._epoch != epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, self.purpose, epoch]).permutation(len(self.names))
        return self.names[int(self._order[index])]
