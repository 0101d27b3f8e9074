"""Images told apart by their content, so that none that was trained on is evaluated, whatever it is called."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vilam.data.store import read_records


def content_hash(image: bytes) -> str:
    """SHA-256 of an encoded picture, as hex."""
    return hashlib.sha256(image).hexdigest()


def content_hashes(folder: Path, split: str) -> dict[str, str]:
    """Of the images of a split of the records in a folder, by image id."""
    return {record.image_id: content_hash(record.image) for record in read_records(folder, split)}
