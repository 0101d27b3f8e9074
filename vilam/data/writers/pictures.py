"""The images of a data set as files: ``images/SPLIT/NAME.jpg``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from vilam.data.records import ImageRecord

IMAGES = "images"
LONGEST = 150
"""Characters of a name, at most."""
PNG = b"\x89PNG"

Records = Callable[[str], Iterator[ImageRecord]]
"""The records of a split."""


def write_pictures(records: Iterator[ImageRecord], folder: Path, split: str) -> Iterator[tuple[ImageRecord, str]]:
    """Write the images of a split one by one; yields each record and its image's path under ``images``."""
    used: set[str] = set()
    for record in records:
        name = f"{split}/{_name(record, used)}"
        path = folder / IMAGES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(record.image)
        yield record, name


def _name(record: ImageRecord, used: set[str]) -> str:
    """A name that is made from the image's id, is no other image's, and is valid on every system."""
    own = re.sub(r"[^A-Za-z0-9._-]+", "_", record.image_id)[-LONGEST:].strip("._") or "image"
    name, number = own, 1
    while name.lower() in used:
        number += 1
        name = f"{own}_{number}"
    used.add(name.lower())
    return f"{name}.{'png' if record.image.startswith(PNG) else 'jpg'}"
