"""Lists, dicts and sets that are kept in temporary files, so that memory does not grow with a data set."""

from __future__ import annotations

import pickle
import sqlite3
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from tempfile import TemporaryFile
from typing import Generic, TypeVar

Value = TypeVar("Value")

IN_MEMORY = 1000
"""Values of a dict that are in memory at a time."""


class KeptList(Generic[Value]):
    """Values of any picklable kind by number, from 0."""

    def __init__(self, values: Iterable[Value] = ()) -> None:
        """Keep values, one after the other."""
        self._file, self._places = TemporaryFile(), array("Q")  # noqa: SIM115
        for value in values:
            self.append(value)

    def append(self, value: Value) -> None:
        """Keep one more; raises ValueError for lists in lists that are too deep."""
        content = _pickled(value)
        self._places.append(self._file.seek(0, 2))
        self._file.write(content)

    def __len__(self) -> int:
        """The number of values."""
        return len(self._places)

    def __getitem__(self, number: int) -> Value:
        """A copy of a value; raises IndexError if there is none."""
        self._file.seek(self._places[number])
        value: Value = pickle.load(self._file)
        return value

    def __iter__(self) -> Iterator[Value]:
        """Copies of all values."""
        return map(self.__getitem__, range(len(self)))


class KeptDict(Generic[Value]):
    """Values of any picklable kind by key, in the order in which they came, and by number.

    The values that were used last are in memory, where they may be changed.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary file that SQLite deletes
        self._database.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY, key BLOB UNIQUE, value BLOB)")
        self._used: OrderedDict[bytes, Value] = OrderedDict()
        self._count = 0

    def setdefault(self, key: str, new: Callable[[], Value]) -> Value:
        """The value of a key, made by ``new`` if there is none.

        It may be changed until `IN_MEMORY` others were asked for.
        """
        try:
            return self[key]
        except KeyError:
            own = _bytes(key)
            self._database.execute("INSERT INTO kept VALUES (?, ?, NULL)", (self._count, own))
            self._used[own] = new()
            self._count += 1
            self._write_down(IN_MEMORY)
            return self._used[own]

    def _write_down(self, left: int) -> None:
        """Take all but the last values out of memory."""
        while len(self._used) > left:
            key, value = self._used.popitem(last=False)
            self._database.execute("UPDATE kept SET value = ? WHERE key = ?", (_pickled(value), key))

    def __len__(self) -> int:
        """The number of values."""
        return self._count

    def __getitem__(self, key: str | int) -> Value:
        """The value of a key, which may be changed as that of `setdefault`, or a copy of the value of a number.

        Raises KeyError or IndexError if there is none.
        """
        if isinstance(key, int):
            self._write_down(0)
            return self._read("number", key, IndexError(f"no value {key}"))
        own = _bytes(key)
        if own not in self._used:
            self._used[own] = self._read("key", own, KeyError(key))
            self._write_down(IN_MEMORY)
        self._used.move_to_end(own)
        return self._used[own]

    def _read(self, column: str, key: bytes | int, missing: LookupError) -> Value:
        found = self._database.execute(f"SELECT value FROM kept WHERE {column} = ?", (key,)).fetchone()
        if found is None:
            raise missing
        value: Value = pickle.loads(found[0])
        return value

    def __iter__(self) -> Iterator[Value]:
        """Copies of all values."""
        return map(self.__getitem__, range(len(self)))


class KeptSet:
    """Names that were seen."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE kept (key BLOB PRIMARY KEY) WITHOUT ROWID")

    def add(self, key: str) -> bool:
        """Keep a name; false if it is there."""
        return self._database.execute("INSERT OR IGNORE INTO kept VALUES (?)", (_bytes(key),)).rowcount > 0


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _pickled(value: object) -> bytes:
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except RecursionError:
        raise ValueError("lists in lists too deep to be read") from None
