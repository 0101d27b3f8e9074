"""Few-shot training sets: so many regions of each category, drawn by seed, of all that there are."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from heapq import heappush, heapreplace

from vilam.data.records import TRAIN, ImageRecord

SPARE = 100
"""Images that are held beside those that are wanted before they are looked through."""
Drawn = tuple[float, str, str]
"""A region's lot, its image's id and its own; the largest lots are drawn."""


def draw_shots(records: Iterator[ImageRecord], shots: int | None, seed: int) -> Iterator[ImageRecord]:
    """The records with ``shots`` regions of each category in train; None leaves them as they are.

    Other regions of train, and its images that are left without any, fall away; other splits stay as they are. Every
    region has a lot that depends on the seed and its id alone, so that of two draws with one seed the smaller is part
    of the larger. Images are held while one of their regions may be drawn: some shots times categories.
    """
    if shots is None:
        yield from records
        return
    drawn: dict[str, list[Drawn]] = defaultdict(list)
    held: dict[str, ImageRecord] = {}
    for record in records:
        if record.split != TRAIN:
            yield record
            continue
        for region in record.regions:
            lot = _lot(seed, region.region_id), record.image_id, region.region_id
            _keep(drawn[region.category], lot, shots)
        held[record.image_id] = record
        if len(held) > SPARE + 2 * sum(map(len, drawn.values())):
            held = _wanted(held, drawn)
    chosen = {region_id for lots in drawn.values() for _, _, region_id in lots}
    for record in _wanted(held, drawn).values():
        yield record.with_regions(each for each in record.regions if each.region_id in chosen)


def _wanted(held: dict[str, ImageRecord], drawn: dict[str, list[Drawn]]) -> dict[str, ImageRecord]:
    """The images of which a region is drawn."""
    images = {image_id for lots in drawn.values() for _, image_id, _ in lots}
    return {image_id: record for image_id, record in held.items() if image_id in images}


def _lot(seed: int, region_id: str) -> float:
    """A number of 0 to 1 that depends on these alone."""
    return int.from_bytes(hashlib.sha256(f"{seed} {region_id}".encode()).digest()[:8], "big") / 2**64


def _keep(lots: list[Drawn], lot: Drawn, shots: int) -> None:
    """Add a lot to a heap of at most ``shots``, of which the smallest gives way."""
    if len(lots) < shots:
        heappush(lots, lot)
    elif lot > lots[0]:
        heapreplace(lots, lot)
