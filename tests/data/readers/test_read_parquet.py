"""Records that `prepare` wrote are read back unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy
from reading import opened, read

from vilam.data.store import write_dataset
from vilam.errors import VilamError


def test_records_are_read_back_unchanged(tmp_path: Path) -> None:
    card = write_dataset(toy.scenes(), toy.card(), tmp_path / "records", 3)
    records, problems = read("parquet", tmp_path / "records")
    assert problems == [] and sorted(records, key=lambda r: r.image_id) == sorted(
        toy.scenes(), key=lambda r: r.image_id
    )
    source = opened("parquet", tmp_path / "records")
    assert (source.categories, source.keypoints, source.splits) == (card.categories, card.keypoints, card.splits)
    assert source.num_images == len(records)


def test_a_data_set_without_card_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=r"card.json: not found"):
        opened("parquet", tmp_path)
