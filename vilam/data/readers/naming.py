"""Names of pictures: without the suffix of their file, and one for each picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vilam.data.readers.images import MEDICAL
from vilam.data.readers.source import IMAGE_SUFFIXES


def without_suffix(name: str) -> str:
    """A name without the suffix of an image; the end of a number such as 1.2.840 is no suffix."""
    suffix = next((end for end in (*IMAGE_SUFFIXES, *MEDICAL) if name.lower().endswith(end)), "")
    return name[: len(name) - len(suffix)]


def picture_ids(names: Sequence[str], splits: Sequence[str]) -> list[str]:
    """An id for each picture: its name without suffix, with the suffix or its split if two have the same."""
    stems = list(map(without_suffix, names))
    counts = Counter(stems)
    own = [name if counts[stem] > 1 else stem for name, stem in zip(names, stems, strict=True)]
    counts = Counter(own)
    return [f"{split}/{name}" if counts[name] > 1 else name for split, name in zip(splits, own, strict=True)]
