"""Which pictures splits share: the same file, or a near copy of it."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from hashlib import blake2b
from itertools import combinations

from vilam.data.near_copies import near_pairs


class SharedPictures:
    """Collects a few bytes of each picture."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._splits: list[str] = []
        self._first: dict[bytes, int] = {}
        self._again: dict[int, list[int]] = defaultdict(list)
        self._prints: dict[str, bytearray] = defaultdict(bytearray)
        self._printed: dict[str, array[int]] = defaultdict(lambda: array("Q"))

    def add(self, split: str, image_id: str, content: bytes, fingerprint: bytes) -> None:
        """A picture: its encoded file, and its fingerprint of vilam/data/near_copies.py, if it has one."""
        number = len(self._names)
        self._names.append(image_id)
        self._splits.append(split)
        first = self._first.setdefault(blake2b(content, digest_size=16).digest(), number)
        if first != number:
            self._again[first].append(number)
        if fingerprint:
            self._prints[split] += fingerprint
            self._printed[split].append(number)

    def copies(self) -> list[list[str]]:
        """The pictures of one content that several splits have, each as ``split/id``."""
        groups = ([first, *others] for first, others in self._again.items())
        return [list(map(self._name, group)) for group in groups if len({self._splits[one] for one in group}) > 1]

    def near_copies(self) -> Iterator[tuple[str, str]]:
        """Pairs of pictures of two splits that show the same but are not the same file, each as ``split/id``."""
        same = {one: first for first, others in self._again.items() for one in others}
        for pair in combinations(self._prints, 2):
            small, large = sorted(pair, key=lambda split: len(self._printed[split]))
            for i, j in near_pairs(bytes(self._prints[small]), bytes(self._prints[large])):
                first, second = self._printed[small][i], self._printed[large][j]
                if same.get(first, first) != same.get(second, second):
                    yield self._name(min(first, second)), self._name(max(first, second))

    def _name(self, number: int) -> str:
        return f"{self._splits[number]}/{self._names[number]}"
