"""What a data set must have for `prepare` to `evaluate` to work with it: one list, for `prepare` and for its check."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b

from vilam.config import TASK_NAMES, Settings
from vilam.data.records import TRAIN, ImageRecord
from vilam.data.sanity import Note, category_notes
from vilam.data.validation import Validator

ASKED_OF = {"rec_mask": "outlines", "rec_keypoints": "keypoints", "rec_every": "groups", "presence": "groups"}
"""What a task asks about; the tasks that are not here ask about any object."""
OBJECTS = "objects"


class Kept:
    """Counts the records that `prepare` keeps, by split.

    images: pictures. parts: objects, those with outlines, those with labelled keypoints, and groups.
    """

    def __init__(self, splits: Sequence[str]) -> None:
        self.images = Counter(dict.fromkeys(splits, 0))
        self.parts: dict[str, Counter[str]] = {split: Counter() for split in splits}
        self._contents = {split: array("Q") for split in splits}

    def add(self, record: ImageRecord) -> None:
        """Count a record."""
        self.images[record.split] += 1
        self.parts[record.split].update(
            {
                OBJECTS: len(record.regions),
                "outlines": sum(bool(region.polygons) for region in record.regions),
                "keypoints": sum(any(v for _, _, v in region.keypoints) for region in record.regions),
                "groups": len(record.groups),
            }
        )
        if record.regions or record.groups:
            digest = blake2b(record.image, digest_size=8).digest()
            self._contents[record.split].append(int.from_bytes(digest, "big"))

    def can_ask(self, split: str, tasks: Iterable[str]) -> bool:
        """Whether a split has something that one of the tasks asks about."""
        return any(self.parts[split][ASKED_OF.get(task, OBJECTS)] for task in tasks)

    def is_seen(self, split: str) -> bool:
        """Whether every picture of a split with something to ask about is in train too, byte for byte."""
        return {*self._contents[split]} <= {*self._contents[TRAIN]}


def notes(validator: Validator, kept: Kept, settings: Settings, refuses_long: bool) -> Iterator[Note]:
    """All that is odd about a set of which every row was read, for the settings of a project; what blocks comes first.

    refuses_long: whether the model refuses pictures above `LONG` of vilam/data/sanity.py.
    """
    invalid, statistics = validator.invalid, validator.statistics
    if excess := invalid.excess(settings.prepare.max_invalid):
        yield Note(excess, True)
    found = [*split_notes(kept, settings), *statistics.notes(refuses_long)]
    yield from sorted(found, key=lambda note: not note.blocks)
    for name in invalid.lost_categories:
        yield Note(f"all {invalid.lost[name]} objects of {name} are bad: none is left")
    yield from category_notes(Counter({**dict.fromkeys(validator.categories, 0), **invalid.kept}))


def split_notes(kept: Kept, settings: Settings) -> Iterator[Note]:
    """What does not work with these splits."""
    if not any(parts[OBJECTS] for parts in kept.parts.values()):
        yield Note(
            "no picture has an object: are the annotations in the folder, under the names of the pictures?", True
        )
        return
    for split, count in kept.images.items():
        if not re.fullmatch(r"\w+", split):
            yield Note(f"split {split!r}: rename it, with letters, digits and _ only", True)
        if not count:
            yield Note(f"split {split} has no picture: add some, or leave the split out", True)
    if settings.evaluate.model is None:
        yield from _train_notes(kept, settings.train.tasks)
    yield from _evaluation_notes(kept, settings)


def _train_notes(kept: Kept, weights: Mapping[str, float]) -> Iterator[Note]:
    if TRAIN not in kept.parts or not kept.parts[TRAIN][OBJECTS]:
        yield Note(
            "no object in train: nothing can be trained on: add some, or name a trained model in evaluate.model", True
        )
    elif not kept.can_ask(TRAIN, tasks := [task for task, weight in weights.items() if weight]):
        yield Note(f"nothing in train to ask {', '.join(tasks)} about: set train.tasks to others", True)


def _evaluation_notes(kept: Kept, settings: Settings) -> Iterator[Note]:
    splits, tasks, trains = settings.evaluate.splits, settings.evaluate.tasks, settings.evaluate.model is None
    held_out = [split for split in kept.images if split != TRAIN or not trains]
    good = [split for split in held_out if kept.can_ask(split, tasks or TASK_NAMES)]
    tests = [split for split in good if split.startswith("test")] or good[-1:]
    instead = f"set evaluate.splits: [{', '.join(tests)}]" if tests else "hold some pictures out"
    if missing := [split for split in splits if split not in kept.images]:
        yield Note(f"evaluate.splits names {', '.join(missing)}, there are {', '.join(kept.images)}: {instead}", True)
    for split in (split for split in splits if split in kept.images):
        if split not in good and split in held_out:
            what = f"nothing in {split} to ask {', '.join(tasks)} about" if tasks else f"no object in {split}"
            yield Note(f"{what}: nothing can be evaluated there: {instead}", True)
        elif split not in good:
            yield Note(f"evaluate.splits names {split}, which is trained on: {instead}", True)
    tested = [split for split in splits if split in good]
    if trains and tested and TRAIN in kept.images and all(map(kept.is_seen, tested)):
        yield Note(f"every picture of {', '.join(tested)} is in train too: hold other pictures out", True)
