"""Questions about whole categories: all of an image's regions of each, and some categories that it has none of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from vilam.data.readers.source import Source
from vilam.data.records import TRAIN, Group, ImageRecord
from vilam.errors import VilamError


def with_categories(
    records: Iterator[ImageRecord], source: Source, unseen: Sequence[str], absent: int | None, seed: int
) -> Iterator[ImageRecord]:
    """The records with a group for each category that an image has, and for ``absent`` that it lacks; None: for none.

    Which of them, the seed and the image's id decide. In train the ``unseen`` categories are not spoken of, and of no
    image those of which it has something unmarked.
    Raises VilamError where not every object of the source is a region: what is not marked would be taken for absent.
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
        silent = {*record.unmarked, *(unseen if record.split == TRAIN else ())}
        spoken_of = [name for name in source.categories if name not in silent]
        yield replace(record, groups=(*record.groups, *_of_categories(record, spoken_of, absent, seed)))


def _of_categories(record: ImageRecord, categories: Sequence[str], absent: int, seed: int) -> Iterator[Group]:
    members = {name: tuple(one.region_id for one in record.regions if one.category == name) for name in categories}
    lacking = sorted((name for name in categories if not members[name]), key=lambda name: _lot(seed, record, name))
    for name in (*(name for name in categories if members[name]), *lacking[:absent]):
        yield Group(f"every {name}", name, members[name], "class", "rule")


def _lot(seed: int, record: ImageRecord, name: str) -> bytes:
    """A string that depends on these alone, by which names are drawn."""
    return hashlib.sha256(f"{seed} {record.image_id} {name}".encode()).digest()
