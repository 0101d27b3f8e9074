"""Data sets on disk: Parquet shards with the images inside, and card.json, written last."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vilam.data.card import read_card, write_card
from vilam.data.records import DatasetCard, ImageRecord
from vilam.data.rows import schema, to_record, to_row
from vilam.errors import VilamError, one_line
from vilam.files import replace_folder

ROWS_AT_ONCE = 32
"""Images of a row group, which one random access reads."""
CACHE_BYTES = 1 << 30
"""Bytes of row groups that a store keeps in memory, at most."""


def write_dataset(
    records: Iterable[ImageRecord],
    card: DatasetCard,
    folder: Path,
    shard_size: int,
    num_invalid: Mapping[str, int] | None = None,
) -> DatasetCard:
    """Write records as ``<split>-00000-of-00003.parquet`` and the card, and return the card with its counts.

    Everything is written beside the folder, which is replaced at the end. num_invalid: invalid rows by split, read
    after the last record. Raises VilamError if a split has no images or the disk is full.
    """
    with replace_folder(folder) as new:
        counts = _write_shards(records, card.splits, new, shard_size)
        invalid = num_invalid or {}
        full = replace(
            card, counts={split: {**one, "num_invalid": invalid.get(split, 0)} for split, one in counts.items()}
        )
        write_card(full, new)
    return full


def read_records(folder: Path, split: str | None = None, images: bool = True) -> Iterator[ImageRecord]:
    """The records of one split, or of all in the card's order; ``images=False`` leaves the image bytes empty."""
    card = read_card(folder)
    columns = [name for name in schema().names if images or name != "image"]
    for name in card.splits if split is None else (split,):
        for path in _shards(folder, card, name):
            shard = _open(path)
            for group in range(shard.num_row_groups):
                yield from map(to_record, _read_group(shard, path, group, columns).to_pylist())


def content_hash(image: bytes) -> str:
    """SHA-256 of an encoded image, as hex: the same image has the same hash in every data set."""
    return hashlib.sha256(image).hexdigest()


def content_hashes(folder: Path, split: str) -> dict[str, str]:
    """The content hashes of the images of one split, by image id."""
    return {record.image_id: content_hash(record.image) for record in read_records(folder, split)}


class RecordStore:
    """Some splits, by image id, in any order; row groups are read when needed and cached up to CACHE_BYTES."""

    def __init__(self, folder: Path, *splits: str) -> None:
        """Open the shards and read the image ids; raises VilamError if the data set is not complete."""
        self.card = read_card(folder)
        self._shards = [(path, _open(path)) for split in splits for path in _shards(folder, self.card, split)]
        self._positions: dict[str, tuple[int, int, int]] = {}
        for number, (path, shard) in enumerate(self._shards):
            for group in range(shard.num_row_groups):
                ids = _read_group(shard, path, group, ["image_id"])["image_id"].to_pylist()
                self._positions.update({name: (number, group, row) for row, name in enumerate(ids)})
        self._groups: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """The number of images."""
        return len(self._positions)

    @property
    def ids(self) -> tuple[str, ...]:
        """Image ids in the order of the shards."""
        return tuple(self._positions)

    def __getitem__(self, image_id: str) -> ImageRecord:
        """The record of an image; raises KeyError if no split has it."""
        number, group, row = self._positions[image_id]
        return to_record(self._group(number, group).slice(row, 1).to_pylist()[0])

    def _group(self, number: int, group: int) -> pa.Table:
        if (number, group) not in self._groups:
            path, shard = self._shards[number]
            table = _read_group(shard, path, group, None)
            self._groups[number, group] = table
            self._bytes += table.nbytes
            while self._bytes > CACHE_BYTES and len(self._groups) > 1:
                self._bytes -= self._groups.popitem(last=False)[1].nbytes
        self._groups.move_to_end((number, group))
        return self._groups[number, group]


class _Shards:
    """Writes the shards of one split."""

    def __init__(self, split: str, folder: Path, shard_size: int) -> None:
        if not re.fullmatch(r"\w+", split):
            raise VilamError(f"split {split!r}: rename it, with letters, digits and _ only")
        self.split, self.folder, self.shard_size = split, folder, shard_size
        self.counts = {"num_images": 0, "num_regions": 0, "num_expressions": 0}
        self.rows: list[dict[str, Any]] = []
        self.writer: pq.ParquetWriter | None = None
        self.paths: list[Path] = []

    def add(self, record: ImageRecord) -> None:
        self.rows.append(to_row(record))
        self.counts["num_images"] += 1
        self.counts["num_regions"] += len(record.regions)
        self.counts["num_expressions"] += sum(len(region.expressions) for region in record.regions)
        end_of_shard = self.counts["num_images"] % self.shard_size == 0
        if end_of_shard or len(self.rows) == ROWS_AT_ONCE:
            self.flush()
        if end_of_shard:
            self.close()

    def flush(self) -> None:
        if self.rows:
            if self.writer is None:
                self.paths.append(self.folder / f"{self.split}-{len(self.paths):05d}")
                self.writer = pq.ParquetWriter(self.paths[-1], schema(), compression="zstd")
            self.writer.write_table(pa.Table.from_pylist(self.rows, schema=schema()))
            self.rows = []

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def finish(self) -> None:
        self.flush()
        self.close()
        for path in self.paths:
            path.rename(path.with_name(f"{path.name}-of-{len(self.paths):05d}.parquet"))


def _write_shards(
    records: Iterable[ImageRecord], splits: tuple[str, ...], folder: Path, shard_size: int
) -> dict[str, dict[str, int]]:
    shards = {split: _Shards(split, folder, shard_size) for split in splits}
    try:
        for record in records:
            shards[record.split].add(record)
        for split, one in shards.items():
            one.finish()
            if not one.counts["num_images"]:
                raise VilamError(f"split {split}: no image in it: add some, or leave the split out")
    finally:
        for one in shards.values():
            one.close()
    return {split: one.counts for split, one in shards.items()}


def _shards(folder: Path, card: DatasetCard, split: str) -> list[Path]:
    if split not in card.splits:
        raise VilamError(f"{folder}: no split {split!r}: there are {', '.join(card.splits)}")
    paths = sorted(folder.glob(f"{split}-?????-of-?????.parquet"))
    if not paths or {path.stem[-5:] for path in paths} != {f"{len(paths):05d}"}:
        raise VilamError(f"{folder}: shards of split {split} are missing: run prepare again")
    return paths


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from None


def _read_group(shard: pq.ParquetFile, path: Path, group: int, columns: list[str] | None) -> pa.Table:
    try:
        return shard.read_row_group(group, columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> VilamError:
    return VilamError(f"{path}: broken or truncated ({one_line(error)[:120]}): run prepare again")
