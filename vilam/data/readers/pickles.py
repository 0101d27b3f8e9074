"""Pickles of plain data, read without calling any function that they name."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any

from vilam.errors import VilamError, one_line

PLAIN = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
    ("collections", "OrderedDict"): OrderedDict,
}
"""The classes that a pickle may name; lists, tuples, dicts, strings, numbers, booleans and None need no name."""


class _PlainUnpickler(pickle._Unpickler):
    """Finds containers only: a pickle can name any function, and loading it would call that.

    It is the unpickler in Python: the one in C does not end on some damaged files.
    """

    def find_class(self, module: str, name: str) -> Any:
        """The container of this name; raises UnpicklingError for anything else."""
        if (module, name) not in PLAIN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no plain data")
        return PLAIN[module, name]


def read_pickle(path: Path) -> Any:
    """The content, also of pickles of Python 2; raises VilamError if it is not plain data."""
    try:
        stream = BytesIO(path.read_bytes())  # reads no more than there is, whatever length a pickle names
        return _PlainUnpickler(stream, encoding="utf-8", errors="replace").load()
    except FileNotFoundError:
        raise VilamError(f"{path}: not found: check prepare.root") from None
    except OSError as error:
        raise VilamError(f"{path}: {error.strerror}: check prepare.root") from None
    except Exception as error:  # a broken pickle can raise almost anything
        raise VilamError(f"{path}: not read as a pickle of plain data: {one_line(error)}") from None
