"""Check a whole data set: what it holds, what is wrong with it, and which images two splits share."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vilam.data.readers import open_files
from vilam.data.recipes import Recipe
from vilam.data.records import ImageRecord
from vilam.data.store import content_hash
from vilam.data.validation import Validator
from vilam.progress import Progress

COUNTED = ("images", "captions", "regions", "polygons", "keypoints", "expressions")


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of a check.

    counts: of COUNTED, by split; polygons and keypoints count the regions that have them. categories: number of regions
    by category. problems: a line for each. shared: lists of images with the same content in several splits, each as
    ``split/id``.
    """

    counts: dict[str, Counter[str]]
    categories: Counter[str]
    problems: list[str]
    shared: list[list[str]]

    @property
    def leaks(self) -> list[list[str]]:
        """The shared images that are in train. Held-out splits often share images, as those of RefCOCO do."""
        return [images for images in self.shared if any(image.startswith("train/") for image in images)]


def check_dataset(recipe: Recipe, root: Path) -> Findings:
    """Read every row of a data set; raises VilamError only if it cannot be opened at all."""
    source = open_files(recipe, root)
    problems: list[str] = []
    validator = Validator(source.categories, source.keypoints, sys.maxsize, source.name, problems.append)
    counts = {split: Counter(dict.fromkeys(COUNTED, 0)) for split in source.splits}
    categories = Counter(dict.fromkeys(source.categories, 0))
    contents: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with Progress(source.num_images, "check", "images") as progress:
        for record in validator.check(source.rows):
            counts[record.split].update(_counted(record))
            categories.update(region.category for region in record.regions)
            contents[content_hash(record.image)].append((record.split, record.image_id))
            progress.advance()
    return Findings(counts, categories, problems, list(_shared(contents)))


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


def _shared(contents: dict[str, list[tuple[str, str]]]) -> Iterator[list[str]]:
    for images in contents.values():
        if len({split for split, _ in images}) > 1:
            yield [f"{split}/{image_id}" for split, image_id in images]
