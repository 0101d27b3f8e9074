"""Seeded choices from the raw 64-bit stream of PCG64, which is the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


class SceneRng:
    """Random choices for one scene, which depend only on (seed, split, index)."""

    def __init__(self, seed: int, split: str, index: int) -> None:
        """Start the stream of scene ``index`` of a split."""
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, crc32(split.encode()), index]))

    def below(self, bound: int) -> int:
        """An integer 0..bound-1 (the bias of the remainder is below bound / 2**64)."""
        return int(self._bits.random_raw()) % bound

    def between(self, low: int, high: int) -> int:
        """An integer low..high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True with a probability of ``percent``."""
        return self.below(100) < percent

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """``count`` different items in random order, or all of them if there are fewer."""
        pool = list(items)
        return [pool.pop(self.below(len(pool))) for _ in range(min(count, len(pool)))]

    def noise(self, height: int, width: int) -> NDArray[np.uint8]:
        """Random bytes [height, width, 3]."""
        count = height * width * 3
        words = np.asarray(self._bits.random_raw(-(-count // 8)), dtype="<u8")
        return words.view(np.uint8)[:count].reshape(height, width, 3)
