"""Any source -> checked image records: data/records and metrics/prepare.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vilam.config import Settings
from vilam.data.groups import with_categories
from vilam.data.readers import open_source
from vilam.data.records import DatasetCard, ImageRecord
from vilam.data.shots import draw_shots
from vilam.data.store import write_dataset
from vilam.data.unseen import unseen_categories, without_unseen
from vilam.data.validation import Validator
from vilam.files import write_whole
from vilam.progress import Progress

RECORDS = Path("data/records")
METRICS = Path("metrics/prepare.json")


def run(settings: Settings, root: Path) -> None:
    """Read settings.prepare's source, check it and write it under ``root``; raises VilamError, changing nothing."""
    prepare = settings.prepare
    source = open_source(prepare, settings.seed, root)
    validator = Validator(source.categories, source.keypoints, prepare.max_invalid, source.name)
    unseen = unseen_categories(source.categories, prepare.unseen, settings.seed)
    domain = source.domain if prepare.domain is None else prepare.domain
    facts = source.categories, source.keypoints, source.splits, source.licences
    card = DatasetCard(source.name, *facts, {}, unseen, domain)
    with Progress(source.num_images, "prepare", "images") as progress:
        checked = _counted((replace(record, domain=domain) for record in validator.check(source.rows)), progress)
        grouped = with_categories(checked, source, unseen, prepare.absent_categories, settings.seed)
        records = draw_shots(without_unseen(grouped, unseen), prepare.shots, settings.seed)
        written = write_dataset(records, card, root / RECORDS, prepare.shard_size, validator.num_invalid)
    write_whole(root / METRICS, json.dumps(written.counts, indent=2) + "\n")


def _counted(records: Iterator[ImageRecord], progress: Progress) -> Iterator[ImageRecord]:
    for record in records:
        yield record
        progress.advance()
