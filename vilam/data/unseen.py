"""Categories that are held out of training, so that what a model makes of things it never met can be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vilam.data.records import TRAIN, ImageRecord
from vilam.errors import VilamError


def unseen_categories(categories: Sequence[str], asked: Sequence[str] | int | None, seed: int) -> tuple[str, ...]:
    """The categories that are held out: those of a list, or so many that are drawn by the seed; none of None.

    Raises VilamError where one is unknown or none would be left.
    """
    if asked is None:
        return ()
    if isinstance(asked, int):
        count = min(asked, len(categories))
        chosen = {str(name) for name in np.random.default_rng(seed).permutation(sorted(categories))[:count]}
    else:
        chosen = set(asked)
        if unknown := sorted(chosen - {*categories}):
            known = ", ".join(sorted(categories))
            raise VilamError(f"prepare.unseen: unknown {', '.join(unknown)}: choose of {known}")
    if chosen >= {*categories}:
        raise VilamError(f"prepare.unseen: all {len(categories)} categories are held out: leave some for training")
    return tuple(name for name in categories if name in chosen)


def without_unseen(records: Iterator[ImageRecord], unseen: Sequence[str]) -> Iterator[ImageRecord]:
    """The records without regions of these categories in train, and without images that hold nothing else there."""
    for record in records:
        kept = tuple(region for region in record.regions if region.category not in unseen)
        if record.split != TRAIN or len(kept) == len(record.regions):
            yield record
        elif kept:
            yield record.with_regions(kept)
