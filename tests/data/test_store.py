"""Data sets on disk: complete or absent, read in any order, with clear errors if they are broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from vilam.data.card import read_card
from vilam.data.records import DatasetCard, ImageRecord
from vilam.data.scenes import CATEGORIES, LICENCE, generate_scene, keypoint_schemas
from vilam.data.store import RecordStore, read_records, write_dataset
from vilam.errors import VilamError

CARD = DatasetCard("scenes", CATEGORIES, keypoint_schemas(), ("train", "val"), (LICENCE,), {})
RECORDS = [
    generate_scene(1, index, split, 32) for split, count in (("train", 70), ("val", 3)) for index in range(count)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dataset(RECORDS, CARD, tmp_path / "data" / "records", 35)
    return tmp_path / "data" / "records"


def test_records_are_read_in_the_order_written(folder: Path) -> None:
    assert list(read_records(folder)) == RECORDS
    assert list(read_records(folder, "val")) == RECORDS[70:]
    assert next(read_records(folder, images=False)).image == b""
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json",
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
        "val-00000-of-00001.parquet",
    ]


def test_the_card_holds_the_counts(folder: Path) -> None:
    card = read_card(folder)
    assert card.keypoints == CARD.keypoints
    assert card.counts["val"] == {
        "num_images": 3,
        "num_regions": sum(len(record.regions) for record in RECORDS[70:]),
        "num_expressions": sum(len(region.expressions) for record in RECORDS[70:] for region in record.regions),
        "num_invalid": 0,
    }


def test_a_store_reads_any_record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vilam.data.store.CACHE_BYTES", 1)
    store = RecordStore(folder, "train")
    assert len(store) == 70
    assert store.ids == tuple(record.image_id for record in RECORDS[:70])
    for index in (69, 0, 34, 35, 1):
        assert store[RECORDS[index].image_id] == RECORDS[index]
    with pytest.raises(KeyError):
        store["none"]
    both = RecordStore(folder, "val", "train")
    assert both.ids == tuple(record.image_id for record in (*RECORDS[70:], *RECORDS[:70]))
    assert all(both[RECORDS[index].image_id] == RECORDS[index] for index in (71, 0))


def test_records_of_splits_may_be_mixed(tmp_path: Path) -> None:
    write_dataset(RECORDS[::-1], CARD, tmp_path / "records", 1000)
    assert list(read_records(tmp_path / "records", "train")) == RECORDS[69::-1]


def test_the_same_records_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_dataset(RECORDS, CARD, tmp_path / "again", 35)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_missing_card_or_shard_is_reported(folder: Path) -> None:
    (folder / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(VilamError, match="shards of split train are missing"):
        list(read_records(folder))
    with pytest.raises(VilamError, match="no split 'dev'"):
        RecordStore(folder, "dev")
    (folder / "card.json").unlink()
    with pytest.raises(VilamError, match=r"card\.json: not found"):
        read_card(folder)


@pytest.mark.parametrize("content", ["", "[]", '{"name": "x"}', '{"keypoints": {"a": 3}}'])
def test_a_broken_card_is_reported(folder: Path, content: str) -> None:
    (folder / "card.json").write_text(content)
    with pytest.raises(VilamError, match="not a data set's card"):
        read_card(folder)


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_a_truncated_shard_is_reported(folder: Path, kept: float) -> None:
    path = folder / "train-00000-of-00002.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept if kept > 1 else len(content) * kept)])
    with pytest.raises(VilamError, match=r"00000-of-00002.parquet: broken or truncated"):
        list(read_records(folder))


def test_garbage_inside_a_shard_is_reported(folder: Path) -> None:
    path = folder / "train-00000-of-00002.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
    with pytest.raises(VilamError, match="broken or truncated"):
        RecordStore(folder, "train")


def test_an_empty_split_is_reported_and_the_old_data_set_is_kept(folder: Path) -> None:
    with pytest.raises(VilamError, match="split val: no image"):
        write_dataset(RECORDS[:5], CARD, folder, 10)
    assert list(read_records(folder)) == RECORDS


def test_a_failure_half_way_keeps_the_old_data_set(folder: Path) -> None:
    def failing() -> Iterator[ImageRecord]:
        yield from RECORDS[:40]
        raise VilamError("stop")

    with pytest.raises(VilamError, match="stop"):
        write_dataset(failing(), CARD, folder, 10)
    assert list(read_records(folder)) == RECORDS
    assert [path.name for path in folder.parent.iterdir()] == ["records"]


def test_a_full_disk_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(VilamError, match=r"could not be written \(No space left on device\)"):
        write_dataset(RECORDS, CARD, folder, 10)
    monkeypatch.undo()
    assert list(read_records(folder)) == RECORDS


def test_a_split_that_cannot_be_a_file_name_is_reported(tmp_path: Path) -> None:
    card = DatasetCard("scenes", CATEGORIES, {}, ("../up",), (LICENCE,), {})
    with pytest.raises(VilamError, match="letters, digits"):
        write_dataset([], card, tmp_path / "records", 10)


def test_dataset_is_recovered_if_its_replacement_was_killed(folder: Path) -> None:
    folder.rename(folder.with_name(".records.old"))
    assert list(read_records(folder)) == RECORDS
