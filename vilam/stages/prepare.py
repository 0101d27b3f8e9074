"""``prepare``: from any source to checked image records: data/records and metrics/prepare.json."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vilam.config import Settings
from vilam.data.readers import open_source
from vilam.data.records import DatasetCard, ImageRecord
from vilam.data.selection import add_category_groups, sample_shots, unseen_categories, without_unseen
from vilam.data.store import write_dataset
from vilam.data.validation import Validator
from vilam.files import write_atomically
from vilam.layout import Layout
from vilam.progress import Progress

logger = logging.getLogger(__name__)


def run(settings: Settings, root: Path) -> None:
    """Read, check and write the source of settings.prepare; changes nothing if it raises VilamError."""
    layout, prepare = Layout(root), settings.prepare
    source = open_source(prepare, settings.seed, root)
    validator = Validator(source.categories, source.keypoints, prepare.max_invalid, source.name)
    unseen = unseen_categories(source.categories, prepare.unseen, settings.seed)
    domain = source.domain if prepare.domain is None else prepare.domain
    facts = source.categories, source.keypoints, source.splits, source.licences
    card = DatasetCard(source.name, *facts, {}, unseen, domain, source.levels)
    with Progress(source.num_images, "prepare", "images") as progress:
        checked = _counted((replace(record, domain=domain) for record in validator.check(source.rows)), progress)
        grouped = add_category_groups(checked, source, unseen, prepare.absent_categories, settings.seed)
        records = sample_shots(without_unseen(grouped, unseen), prepare.shots, settings.seed)
        written = write_dataset(records, card, layout.records, prepare.shard_size, validator.num_invalid)
    for name in validator.invalid.lost_categories:
        logger.error("%s: all %d objects of %s are bad: none is left", source.name, validator.invalid.lost[name], name)
    if not validator.invalid.kept:
        logger.warning("%s: no picture has an object: are annotations there? see vilam datasets check", source.name)
    for note in validator.statistics.notes():
        logger.warning("%s: %s", source.name, note.text)
    write_atomically(layout.metrics("prepare"), json.dumps(written.counts, indent=2) + "\n")


def _counted(records: Iterator[ImageRecord], progress: Progress) -> Iterator[ImageRecord]:
    for record in records:
        yield record
        progress.advance()
