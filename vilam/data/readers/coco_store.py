"""The rows of COCO files in a temporary database on disk, by picture: memory does not grow with a data set."""

from __future__ import annotations

import json
import os
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from vilam.data.readers.source import whole_characters

Row = dict[str, Any]

TABLES = """
PRAGMA journal_mode = OFF;
CREATE TABLE images (number INTEGER PRIMARY KEY, file INTEGER, key TEXT, json TEXT);
CREATE TABLE annotations (number INTEGER PRIMARY KEY, file INTEGER, key TEXT, json TEXT);
CREATE TABLE pictures (number INTEGER PRIMARY KEY, split TEXT, path BLOB, licence TEXT, UNIQUE (split, path));
CREATE TABLE places (file INTEGER, key TEXT, picture INTEGER, image INTEGER, PRIMARY KEY (file, key)) WITHOUT ROWID;
"""
INDICES = """
CREATE INDEX image_files ON images (file);
CREATE INDEX annotation_keys ON annotations (file, key);
CREATE INDEX picture_paths ON pictures (path);
CREATE INDEX place_pictures ON places (picture);
"""
"""Made when the rows of all files are there."""

TOGETHER = 1000
"""Rows that are written at a time."""


class Place(NamedTuple):
    """What one file tells of a picture. file: its number. image: the picture's row, None if the file has none."""

    file: int
    image: Row | None
    annotations: list[Row]


class CocoStore:
    """Images and annotations have the number of their file and a key, the image's id; a picture is a path in a split.

    An image's place is the picture that it is, or nowhere if there is no such file.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary file that SQLite deletes
        self._database.executescript(TABLES)
        self._new: dict[str, list[tuple[int, str, str]]] = {"images": [], "annotations": []}

    def add(self, table: str, file: int, key: str, text: str) -> None:
        """Keep a row of images or annotations, as JSON, to be found after `complete`."""
        self._new[table].append((file, whole_characters(key), whole_characters(text)))
        if len(self._new[table]) == TOGETHER:
            self._write(table)

    def _write(self, table: str) -> None:
        self._database.executemany(f"INSERT INTO {table} (file, key, json) VALUES (?, ?, ?)", self._new[table])
        self._new[table].clear()

    def complete(self) -> None:
        """Make the rows fast to find: all are there."""
        for table in self._new:
            self._write(table)
        self._database.executescript(INDICES)

    def images(self, file: int) -> Iterator[tuple[int, str, Row]]:
        """Number, key and row of each image of a file."""
        query = "SELECT number, key, json FROM images WHERE file = ? ORDER BY number"
        return ((number, key, json.loads(text)) for number, key, text in self._database.execute(query, (file,)))

    def set_place(self, file: int, key: str, image: int, picture: int | None) -> None:
        """Say which picture an image is."""
        self._database.execute("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", (file, key, picture, image))

    def borrow_places(self, file: int, other: int) -> None:
        """Let the annotations of a file without images be of the images of another one."""
        query = "INSERT OR REPLACE INTO places SELECT ?, key, picture, NULL FROM places WHERE file = ?"
        self._database.execute(f"{query} AND picture IS NOT NULL", (file, other))

    def path_at(self, file: int, key: str) -> Path | None:
        """The path of the picture that an image is; None if nothing is known of it."""
        query = "SELECT path FROM places JOIN pictures ON picture = pictures.number WHERE file = ? AND key = ?"
        found = self._database.execute(query, (file, key)).fetchone()
        return _path(found[0]) if found else None

    def number_of(self, split: str, path: Path, licence: str) -> int:
        """The number of a picture; the licence is that of a new one."""
        own = os.fsencode(path)
        query = "INSERT OR IGNORE INTO pictures (split, path, licence) VALUES (?, ?, ?)"
        self._database.execute(query, (split, own, whole_characters(licence)))
        found = self._database.execute("SELECT number FROM pictures WHERE split = ? AND path = ?", (split, own))
        return int(found.fetchone()[0])

    def leave_out(self, split: str, path: Path | None = None) -> None:
        """Forget a picture, or all of a split."""
        query, values = "DELETE FROM pictures WHERE split = ?", (split,)
        if path is None:
            self._database.execute(query, values)
        else:
            self._database.execute(f"{query} AND path = ?", (*values, os.fsencode(path)))

    def leave_out_doubles(self, split: str) -> int:
        """Forget the pictures of a split that another one has too; returns their number."""
        query = "DELETE FROM pictures WHERE split = ? AND path IN (SELECT path FROM pictures WHERE split <> ?)"
        return self._database.execute(query, (split, split)).rowcount

    def splits(self) -> list[str]:
        """The splits that have pictures."""
        found = self._database.execute("SELECT split FROM pictures GROUP BY split ORDER BY MIN(number)")
        return [split for (split,) in found]

    def are_all_in(self, split: str, others: Sequence[str]) -> bool:
        """Whether other splits have all pictures of a split."""
        found = f"SELECT path FROM pictures WHERE split IN ({', '.join('?' * len(others))})"
        query = f"SELECT 1 FROM pictures WHERE split = ? AND path NOT IN ({found}) LIMIT 1"
        return self._database.execute(query, (split, *others)).fetchone() is None

    def numbers(self) -> array[int]:
        """The numbers of all pictures."""
        return array(
            "Q", (number for (number,) in self._database.execute("SELECT number FROM pictures ORDER BY number"))
        )

    def pictures(self) -> Iterator[tuple[str, Path, str]]:
        """Split, path and licence of each picture."""
        found = self._database.execute("SELECT split, path, licence FROM pictures ORDER BY number")
        return ((split, _path(path), licence) for split, path, licence in found)

    def picture(self, number: int) -> tuple[str, Path, str, list[Place]]:
        """Split, path and licence of a picture, and what each file tells of it, in the order of the files."""
        query = """
            SELECT split, path, licence, places.file, images.json, (
                SELECT group_concat('[' || number || ',' || json || ']') FROM annotations
                WHERE file = places.file AND key = places.key
            )
            FROM pictures JOIN places ON picture = pictures.number LEFT JOIN images ON images.number = image
            WHERE pictures.number = ? ORDER BY places.file, image
        """  # one query: each lets other threads run before the next
        rows = self._database.execute(query, (number,)).fetchall()
        split, path, licence, *_ = rows[0]
        return split, _path(path), licence, [_place(*row[3:]) for row in rows]

    def annotations(self, file: int, step: int) -> Iterator[tuple[Row, Row | None]]:
        """Every ``step``-th annotation of a file, if its picture is there, with the row of its image in the file."""
        query = """
            SELECT annotations.json, images.json FROM annotations JOIN places USING (file, key)
            JOIN pictures ON picture = pictures.number LEFT JOIN images ON image = images.number
            WHERE annotations.file = ? AND annotations.number % ? = 0 ORDER BY annotations.number
        """
        found = self._database.execute(query, (file, step))
        return ((json.loads(row), image and json.loads(image)) for row, image in found)

    def without_image(self, file: int) -> Iterator[Row]:
        """The annotations of a file whose image is not in it."""
        known = "SELECT 1 FROM places WHERE places.file = annotations.file AND places.key = annotations.key"
        query = f"SELECT json FROM annotations WHERE file = ? AND NOT EXISTS ({known}) ORDER BY number"
        return (json.loads(text) for (text,) in self._database.execute(query, (file,)))


def _place(file: int, image: str | None, annotations: str | None) -> Place:
    numbered = sorted(json.loads(f"[{annotations or ''}]"), key=itemgetter(0))
    return Place(file, json.loads(image) if image else None, [row for _, row in numbered])


def _path(name: bytes) -> Path:
    return Path(os.fsdecode(name))
