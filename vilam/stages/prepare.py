"""``prepare``: from any source to checked image records: data/records and metrics/prepare.json."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from vilam.config import Settings
from vilam.data.readers import open_source
from vilam.data.records import DatasetCard, ImageRecord
from vilam.data.rules import Kept, notes
from vilam.data.sanity import Note
from vilam.data.selection import add_category_groups, sample_shots, unseen_categories, without_unseen
from vilam.data.store import write_dataset
from vilam.data.validation import Validator
from vilam.errors import VilamError
from vilam.files import write_atomically
from vilam.inference.limits import refuses_long
from vilam.layout import Layout
from vilam.progress import Progress

logger = logging.getLogger(__name__)


def run(settings: Settings, root: Path) -> None:
    """Read, check and write the source of settings.prepare; changes nothing if it raises VilamError.

    What `vilam datasets check` calls not ready to train raises VilamError, in the same words; what concerns training
    and evaluation alone is a warning here, and stops `activate`.
    """
    layout, prepare = Layout(root), settings.prepare
    source = open_source(prepare, settings.seed, root)
    validator = Validator(source.categories, source.keypoints, prepare.max_invalid, source.name)
    unseen = unseen_categories(source.categories, prepare.unseen, settings.seed)
    domain = source.domain if prepare.domain is None else prepare.domain
    facts = source.categories, source.keypoints, source.splits, source.licences
    card = DatasetCard(source.name, *facts, {}, unseen, domain, source.levels)
    kept = Kept(source.splits)
    with Progress(source.num_images, "prepare", "images") as progress:
        checked = _counted((replace(record, domain=domain) for record in validator.check(source.rows)), progress)
        grouped = add_category_groups(checked, source, unseen, prepare.absent_categories, settings.seed)
        records = sample_shots(without_unseen(grouped, unseen), prepare.shots, settings.seed)
        noted = partial(notes, validator, kept, settings, refuses_long(settings.model, root))
        ready = _ready(records, kept, noted, source.name)
        written = write_dataset(ready, card, layout.records, prepare.shard_size, validator.num_invalid)
    write_atomically(layout.metrics("prepare"), json.dumps(written.counts, indent=2) + "\n")


def _counted(records: Iterator[ImageRecord], progress: Progress) -> Iterator[ImageRecord]:
    for record in records:
        yield record
        progress.advance()


def _ready(
    records: Iterator[ImageRecord], kept: Kept, noted: Callable[[], Iterator[Note]], name: str
) -> Iterator[ImageRecord]:
    """The records, which are counted; at their end the notes are reported, and the first that blocks is raised."""
    for record in records:
        kept.add(record)
        yield record
    for note in noted():
        if note.blocks and not note.later:
            raise VilamError(f"{name}: {note.text}")
        logger.warning("%s: %s", name, note.text)
