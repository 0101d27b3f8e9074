"""Which format a folder or a file is of, and the recipe of a format that needs none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vilam.data.readers.formats import Format, Found
from vilam.data.recipes import UNKNOWN, Recipe
from vilam.errors import VilamError


def recognise(path: Path, formats: Sequence[Format]) -> list[tuple[Format, Found]]:
    """The formats that a folder or file may be of, the surest first; raises VilamError if it does not exist."""
    if not path.exists():
        raise VilamError(f"{path}: no such folder or file: set prepare.root to the data set's folder")
    found = [(each, one) for each in formats if (one := each.recognises(path)) is not None]
    return sorted(found, key=lambda pair: -pair[1].sureness)


def recipe_of(each: Format, found: Found) -> Recipe:
    """The recipe of a data set that was recognised."""
    return Recipe(
        name=each.name,
        title=found.title,
        home=UNKNOWN,
        licence=found.licence or UNKNOWN,
        layout=each.layout,
        splits="those of the files; without test, val becomes test and a tenth of train val; train alone is divided",
        leakage=UNKNOWN,
        exhaustive=each.exhaustive,
        reader=found.reader,  # type: ignore[arg-type]
    )
