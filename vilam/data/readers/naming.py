"""Names of pictures: without the suffix of their file, and one for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from vilam.data.pixels import MEDICAL
from vilam.data.readers.source import IMAGE_SUFFIXES


def without_suffix(name: str) -> str:
    """A name without the suffix of an image; the end of a number such as 1.2.840 is no suffix."""
    suffix = next((end for end in (*IMAGE_SUFFIXES, *MEDICAL) if name.lower().endswith(end)), "")
    return name[: len(name) - len(suffix)]


def picture_ids(names: Sequence[str], splits: Sequence[str]) -> list[str]:
    """An id for each picture: its name without suffix, with the suffix or its split if two have the same."""
    own = list(map(without_suffix, names))
    if twice := _repeated(own):
        own = [name if stem in twice else stem for name, stem in zip(names, own, strict=True)]
    if twice := _repeated(own):
        own = [f"{split}/{name}" if name in twice else name for split, name in zip(splits, own, strict=True)]
    return own


def _repeated(names: Sequence[str]) -> set[str]:
    """The names that come more than once."""
    return {first for first, second in pairwise(sorted(names)) if first == second}
