"""Image records as `prepare` wrote them: a folder of Parquet shards with their card.json."""

from __future__ import annotations

from pathlib import Path

from vilam.data.card import read_card
from vilam.data.readers.source import RawRecord, Source
from vilam.data.recipes import Recipe
from vilam.data.store import read_records


def open_parquet(root: Path, recipe: Recipe) -> Source:
    """The records, shard by shard; raises VilamError if the data set is not whole."""
    card = read_card(root)
    rows = (RawRecord(record, f"{root}: image {record.image_id}") for record in read_records(root))
    total = sum(counts["num_images"] for counts in card.counts.values())
    facts = card.name, card.categories, card.keypoints, card.splits, card.licences
    return Source(*facts, total, rows, domain=card.domain, levels=card.levels)
