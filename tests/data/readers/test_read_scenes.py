"""Scenes as a source: the counts and splits of the settings."""

from __future__ import annotations

from vilam.config import ScenesSettings
from vilam.data.readers.scenes import open_scenes, read_scenes
from vilam.data.readers.source import RawRecord
from vilam.data.scenes import generate_scene

SETTINGS = ScenesSettings(image_size=32, num_images={"train": 5, "dev": 2})


def test_scenes_are_ordered_by_split_and_index() -> None:
    expected = [generate_scene(9, index, "train", 32) for index in range(5)]
    expected += [generate_scene(9, index, "dev", 32) for index in range(2)]
    assert list(read_scenes(SETTINGS, 9)) == expected


def test_source_has_the_splits_and_counts_of_the_settings() -> None:
    source = open_scenes(SETTINGS, 9)
    assert source.splits == ("train", "dev") and source.num_images == 7
    rows = list(source.rows)
    assert len(rows) == 7
    assert all(isinstance(row, RawRecord) and row.record.source == "scenes" for row in rows)
