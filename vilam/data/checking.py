"""Check a whole data set: what it holds, what is wrong with it, and which images two splits share."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import chain

from vilam.config import Settings
from vilam.data.invalid import Invalid
from vilam.data.near_copies import fingerprint
from vilam.data.readers.source import Source
from vilam.data.records import TRAIN, ImageRecord
from vilam.data.rules import Kept, notes
from vilam.data.sanity import Note
from vilam.data.selection import add_category_groups, unseen_categories, without_unseen
from vilam.data.sharing import SharedPictures
from vilam.data.validation import Validator
from vilam.progress import Progress

COUNTED = ("images", "captions", "regions", "polygons", "keypoints", "expressions", "groups")


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of a check.

    counts: of COUNTED, by split; polygons and keypoints count the regions that have them, groups the
    expressions of several regions or of none. categories: number of regions
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


def check_dataset(source: Source, settings: Settings, refuses_long: bool = False) -> Findings:
    """Read every row of a data set, for the settings of a project; refuses_long: see `notes` of vilam/data/rules.py.

    Raises VilamError if `prepare` cannot do with this set what the settings ask.
    """
    prepare, seed = settings.prepare, settings.seed
    unseen = unseen_categories(source.categories, prepare.unseen, seed)
    validator = Validator(source.categories, source.keypoints, math.inf, source.name, lambda line: None)
    counts = {split: Counter(dict.fromkeys(COUNTED, 0)) for split in source.splits}
    kept, pictures = Kept(source.splits), SharedPictures()
    with Progress(source.num_images, "check", "images") as progress:
        for record, own in validator.inspect(source.rows, fingerprint):
            counts[record.split].update(_counted(record))
            grouped = add_category_groups(iter([record]), source, unseen, prepare.absent_categories, seed)
            for chosen in without_unseen(grouped, unseen):
                kept.add(chosen)
            pictures.add(record.split, record.image_id, record.image, own)
            progress.advance()
    found = list(notes(validator, kept, settings, refuses_long))
    categories = Counter({**dict.fromkeys(source.categories, 0), **validator.invalid.kept})
    return Findings(counts, categories, validator.invalid, pictures.copies(), list(pictures.near_copies()), found)


def _counted(record: ImageRecord) -> dict[str, int]:
    regions = record.regions
    numbers = (
        1,
        len(record.captions),
        len(regions),
        sum(bool(region.polygons) for region in regions),
        sum(bool(region.keypoints) for region in regions),
        sum(len(region.expressions) for region in regions),
        len(record.groups),
    )
    return dict(zip(COUNTED, numbers, strict=True))
