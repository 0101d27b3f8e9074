"""What a data set must have for `prepare` to `evaluate` to work with it: one list, for `prepare` and for its check."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import blake2b

from vilam.config import TASK_NAMES, Settings
from vilam.data.records import TRAIN, ImageRecord
from vilam.data.sanity import Note, category_notes
from vilam.data.validation import Validator

NEEDED = {"rec_mask": "outlines", "rec_keypoints": "keypoints", "rec_every": "groups", "presence": "groups"}
"""What a task asks about; the tasks that are not here ask about any object."""
ANY_OBJECT = "reg_class"
"""The task that asks about every object."""


class Kept:
    """Counts the records that `prepare` keeps; images: pictures by split."""

    def __init__(self, splits: Sequence[str]) -> None:
        self.images = Counter(dict.fromkeys(splits, 0))
        self._parts: dict[str, set[str]] = {split: set() for split in splits}
        self._contents = {split: array("Q") for split in splits}

    def add(self, record: ImageRecord) -> None:
        """Count a record."""
        self.images[record.split] += 1
        parts = self._parts[record.split]
        if record.groups:
            parts.add("groups")
        for region in record.regions:
            parts |= {"objects", "outlines"} if region.polygons else {"objects"}
            if any(v for _, _, v in region.keypoints):
                parts.add("keypoints")
        if record.regions or record.groups:
            digest = blake2b(record.image, digest_size=8).digest()
            self._contents[record.split].append(int.from_bytes(digest, "big"))

    @property
    def tasks(self) -> dict[str, set[str]]:
        """The tasks that have something to ask about, by split."""
        return {
            split: {task for task in TASK_NAMES if NEEDED.get(task, "objects") in parts}
            for split, parts in self._parts.items()
        }

    def is_seen(self, split: str) -> bool:
        """Whether every picture of a split with something to ask about is in train too, byte for byte."""
        return {*self._contents[split]} <= {*self._contents[TRAIN]}


def notes(validator: Validator, kept: Kept, settings: Settings, refuses_long: bool) -> Iterator[Note]:
    """All that is odd about a set of which every row was read, for the settings of a project; what blocks comes first.

    refuses_long: whether the model refuses pictures above `LONG` of vilam/data/sanity.py.
    """
    invalid = validator.invalid
    if excess := invalid.excess(settings.prepare.max_invalid):
        yield Note(excess, True)
    found = [*_split_notes(kept, settings), *validator.statistics.notes(refuses_long)]
    yield from sorted(found, key=lambda note: (not note.blocks, note.later))
    for name in invalid.lost_categories:
        yield Note(f"all {invalid.lost[name]} objects of {name} are bad: none is left")
    yield from category_notes(Counter({**dict.fromkeys(validator.categories, 0), **invalid.kept}))


def _split_notes(kept: Kept, settings: Settings) -> Iterator[Note]:
    tasks = kept.tasks
    if not any(ANY_OBJECT in possible for possible in tasks.values()):
        yield Note(
            "no picture has an object: are the annotations in the folder, under the names of the pictures?", True
        )
        return
    for split, count in kept.images.items():
        if not re.fullmatch(r"\w+", split):
            yield Note(f"split {split!r}: rename it, with letters, digits and _ only", True)
        if not count:
            yield Note(f"split {split}: no image in it: add some, or leave the split out", True)
    yield from use_notes(tasks, settings)
    tested = [split for split in settings.evaluate.splits if tasks.get(split) and split != TRAIN]
    if settings.evaluate.model is None and TRAIN in tasks and tested and all(map(kept.is_seen, tested)):
        yield Note(f"every picture of {', '.join(tested)} is in train too: hold other pictures out", True)


def use_notes(tasks: Mapping[str, Collection[str]], settings: Settings) -> Iterator[Note]:
    """Why nothing can be trained or evaluated; tasks: those that have something to ask about, by split."""
    if settings.evaluate.model is None:
        yield from _train_notes(tasks.get(TRAIN, ()), settings.train.tasks)
    yield from _evaluation_notes(tasks, settings)


def _train_notes(possible: Collection[str], weights: Mapping[str, float]) -> Iterator[Note]:
    wanted = [task for task, weight in weights.items() if weight]
    if ANY_OBJECT not in possible:
        text = "no object in train: nothing can be trained on: add some, or name a trained model in evaluate.model"
        yield Note(text, True, later=True)
    elif not {*wanted} & {*possible}:
        yield Note(f"nothing in train to ask {', '.join(wanted)} about: set train.tasks to others", True, later=True)


def _evaluation_notes(tasks: Mapping[str, Collection[str]], settings: Settings) -> Iterator[Note]:
    own = settings.evaluate
    wanted = {*(own.tasks or TASK_NAMES)}
    held_out = [split for split in tasks if split != TRAIN or own.model is not None]
    good = [split for split in held_out if wanted & {*tasks[split]}]
    named = [split for split in good if "test" in split] or good[-1:]
    instead = f"set evaluate.splits: [{', '.join(named)}]" if named else "hold some pictures out"
    if missing := [split for split in own.splits if split not in tasks]:
        text = f"evaluate.splits names {', '.join(missing)}, there are {', '.join(tasks)}: {instead}"
        yield Note(text, True, later=True)
    for split in (split for split in own.splits if split in tasks and split not in good):
        what = f"nothing in {split} to ask {', '.join(own.tasks)} about" if own.tasks else f"no object in {split}"
        if split not in held_out:
            yield Note(f"evaluate.splits names {split}, which is trained on: {instead}", True, later=True)
        else:
            yield Note(f"{what}: nothing can be evaluated there: {instead}", True, later=True)
