"""Records of `prepare` read again are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy
from reading import opened, read

from vilam.data.store import write_dataset
from vilam.errors import VilamError


def test_records_return(tmp_path: Path) -> None:
    card = write_dataset(toy.scenes(), toy.card(), tmp_path / "records", 3)
    records, problems = read("parquet", tmp_path / "records")
    assert problems == [] and sorted(records, key=lambda r: r.image_id) == sorted(
        toy.scenes(), key=lambda r: r.image_id
    )
    source = opened("parquet", tmp_path / "records")
    assert (source.categories, source.keypoints, source.splits) == (card.categories, card.keypoints, card.splits)
    assert source.num_images == len(records)


def test_half_a_data_set_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=r"card.json: not found"):
        opened("parquet", tmp_path)
