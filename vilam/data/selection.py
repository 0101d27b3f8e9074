"""Which part of a data set `prepare` keeps: shots of each category, held-out categories, category groups.

Every choice depends only on the seed and on names, never on the order of the records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from heapq import heappush, heapreplace

import numpy as np

from vilam import draws
from vilam.data.readers.source import Source
from vilam.data.records import TRAIN, Group, ImageRecord
from vilam.errors import VilamError

SPARE = 100
"""Images in memory, beyond the needed ones, before those that are not needed are dropped."""
Shot = tuple[int, str, str]
"""A region's random number, its image's id and its own id; the largest numbers are chosen."""


def sample_shots(records: Iterator[ImageRecord], shots: int | None, seed: int) -> Iterator[ImageRecord]:
    """Yield the records with ``shots`` regions of each category in train; None keeps all records.

    Other regions of train are dropped, and images without any region; other splits stay unchanged. Each region has a
    random number that depends only on the seed and its id, so that with one seed a smaller sample is part of any larger
    one. An image is in memory while one of its regions may be chosen: memory grows with shots times categories.
    """
    if shots is None:
        yield from records
        return
    chosen: dict[str, list[Shot]] = defaultdict(list)
    held: dict[str, ImageRecord] = {}
    for record in records:
        if record.split != TRAIN:
            yield record
            continue
        for region in record.regions:
            shot = draws.number(seed, "shot", region.region_id), record.image_id, region.region_id
            _keep_largest(chosen[region.category], shot, shots)
        held[record.image_id] = record
        if len(held) > SPARE + 2 * sum(map(len, chosen.values())):
            held = _needed(held, chosen)
    ids = {region_id for heap in chosen.values() for _, _, region_id in heap}
    for record in _needed(held, chosen).values():
        yield record.with_regions(region for region in record.regions if region.region_id in ids)


def _needed(held: dict[str, ImageRecord], chosen: dict[str, list[Shot]]) -> dict[str, ImageRecord]:
    """The images with a chosen region."""
    images = {image_id for heap in chosen.values() for _, image_id, _ in heap}
    return {image_id: record for image_id, record in held.items() if image_id in images}


def _keep_largest(heap: list[Shot], shot: Shot, count: int) -> None:
    """Add an item to a heap of at most ``count`` items, in place of the smallest one if it is full."""
    if len(heap) < count:
        heappush(heap, shot)
    elif shot > heap[0]:
        heapreplace(heap, shot)


def unseen_categories(categories: Sequence[str], unseen: Sequence[str] | int | None, seed: int) -> tuple[str, ...]:
    """The categories that are held out of train: those of a list, or a number of them chosen by the seed.

    Raises VilamError if one is unknown or if none would be left.
    """
    if unseen is None:
        return ()
    if isinstance(unseen, int):
        count = min(unseen, len(categories))
        chosen = {str(name) for name in np.random.default_rng(seed).permutation(sorted(categories))[:count]}
    else:
        chosen = set(unseen)
        if unknown := sorted(chosen - {*categories}):
            known = ", ".join(sorted(categories))
            raise VilamError(f"prepare.unseen: unknown {', '.join(unknown)}: choose from {known}")
    if chosen >= {*categories}:
        raise VilamError(f"prepare.unseen: all {len(categories)} categories are held out: leave some for training")
    return tuple(name for name in categories if name in chosen)


def without_unseen(records: Iterator[ImageRecord], unseen: Sequence[str]) -> Iterator[ImageRecord]:
    """Yield the records; those of train without regions of these categories, and without images that have no others."""
    for record in records:
        kept = tuple(region for region in record.regions if region.category not in unseen)
        if record.split != TRAIN or len(kept) == len(record.regions):
            yield record
        elif kept:
            yield record.with_regions(kept)


def add_category_groups(
    records: Iterator[ImageRecord], source: Source, unseen: Sequence[str], absent: int | None, seed: int
) -> Iterator[ImageRecord]:
    """Yield the records with a group for each category of an image, and for ``absent`` categories that it lacks.

    The seed and the image's id choose the absent ones; None adds no groups at all. A category with unmarked objects in
    the image gets no group, nor does an ``unseen`` one in train. Raises VilamError unless every object of the source is
    a region: an object that is not marked would count as absent.
    """
    if absent is None:
        yield from records
        return
    if not source.is_exhaustive:
        raise VilamError(
            f"prepare.absent_categories: not every object of {source.name} is marked, so none is known to be absent: "
            "set it to null, or exhaustive: true in a recipe of your own"
        )
    for record in records:
        excluded = {*record.unmarked, *(unseen if record.split == TRAIN else ())}
        categories = [name for name in source.categories if name not in excluded]
        yield replace(record, groups=(*record.groups, *_category_groups(record, categories, absent, seed)))


def _category_groups(record: ImageRecord, categories: Sequence[str], absent: int, seed: int) -> Iterator[Group]:
    members = {name: tuple(one.region_id for one in record.regions if one.category == name) for name in categories}
    lacking = sorted(
        (name for name in categories if not members[name]),
        key=lambda name: draws.number(seed, "absent", record.image_id, name),
    )
    for name in (*(name for name in categories if members[name]), *lacking[:absent]):
        yield Group(f"every {name}", name, members[name], "class", "rule")
