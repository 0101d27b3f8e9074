"""Which images are one picture: answers on it share its difficulty, whatever it is called in each split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vilam.data.leakage import content_hash
from vilam.data.records import ImageRecord


def same_pictures(records: Iterable[tuple[str, ImageRecord]]) -> Mapping[str, str]:
    """By image id the id of the first of these images whose encoded picture has the same bytes."""
    first: dict[str, str] = {}
    return {image_id: first.setdefault(content_hash(record.image), image_id) for image_id, record in records}
