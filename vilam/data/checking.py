"""Check a whole data set: what it holds, what is wrong with it, and which images two splits share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from vilam.data.invalid import Invalid
from vilam.data.near_copies import fingerprint
from vilam.data.readers.source import Source
from vilam.data.records import TRAIN, ImageRecord
from vilam.data.sanity import Note, category_notes, split_notes
from vilam.data.sharing import SharedPictures
from vilam.data.validation import Validator
from vilam.progress import Progress

COUNTED = ("images", "captions", "regions", "polygons", "keypoints", "expressions")


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of a check.

    counts: of COUNTED, by split; polygons and keypoints count the regions that have them. categories: number of regions
    by category. invalid: bad rows. shared: lists of images with the same content in several splits, each as
    ``split/id``. near: pairs of images of two splits that show the same. notes: what else is odd.
    """

    counts: dict[str, Counter[str]]
    categories: Counter[str]
    invalid: Invalid
    shared: list[list[str]]
    near: list[tuple[str, str]]
    notes: list[Note]

    @property
    def leaks(self) -> list[list[str]]:
        """The shared images that are in train. Held-out splits often share images, as those of RefCOCO do."""
        return [images for images in self.shared if any(image.startswith(f"{TRAIN}/") for image in images)]

    @property
    def problems(self) -> list[str]:
        """The first lines of each kind of bad rows."""
        return list(chain.from_iterable(self.invalid.lines.values()))

    @property
    def is_ready(self) -> bool:
        """Whether `prepare` to `evaluate` work with the set."""
        return not any(note.blocks for note in self.notes)


def check_dataset(source: Source, max_invalid: float, evaluated: Sequence[str]) -> Findings:
    """Read every row of a data set, for ``prepare.max_invalid`` and ``evaluate.splits``."""
    validator = Validator(source.categories, source.keypoints, math.inf, source.name, lambda line: None)
    counts = {split: Counter(dict.fromkeys(COUNTED, 0)) for split in source.splits}
    categories = Counter(dict.fromkeys(source.categories, 0))
    pictures = SharedPictures()
    with Progress(source.num_images, "check", "images") as progress:
        for record, own in validator.inspect(source.rows, fingerprint):
            counts[record.split].update(_counted(record))
            categories.update(region.category for region in record.regions)
            pictures.add(record.split, record.image_id, record.image, own)
            progress.advance()
    images, regions = ({split: own[name] for split, own in counts.items()} for name in ("images", "regions"))
    notes = (
        *_bad_row_notes(validator.invalid, max_invalid),
        *split_notes(images, regions, evaluated),
        *validator.statistics.notes(),
        *category_notes(categories),
    )
    return Findings(counts, categories, validator.invalid, pictures.copies(), list(pictures.near_copies()), list(notes))


def _bad_row_notes(invalid: Invalid, max_invalid: float) -> Iterator[Note]:
    if excess := invalid.excess(max_invalid):
        yield Note(f"{excess}: prepare stops there: fix them, or raise prepare.max_invalid", True)
    for name in invalid.lost_categories:
        yield Note(f"all {invalid.lost[name]} objects of {name} are bad: none is left")


def _counted(record: ImageRecord) -> dict[str, int]:
    regions = record.regions
    numbers = (
        1,
        len(record.captions),
        len(regions),
        sum(bool(region.polygons) for region in regions),
        sum(bool(region.keypoints) for region in regions),
        sum(len(region.expressions) for region in regions),
    )
    return dict(zip(COUNTED, numbers, strict=True))
