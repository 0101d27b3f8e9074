"""What a format is, and how a data set without a recipe is recognised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vilam.config import Section
from vilam.data.readers.source import Source
from vilam.data.recipes import Recipe

CLEAR, LIKELY, POSSIBLE = 3, 2, 1
"""How sure a format is of a folder: a file that only this format has; its usual layout; content that could be it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A format that was recognised.

    title: what lies there, for people ("Roboflow YOLO"). reader: the options that read it. root: the folder for
    prepare.root. sureness: `CLEAR`, `LIKELY` or `POSSIBLE`. licence: that the files tell; "" if they do not.
    """

    title: str
    reader: Section
    root: Path
    sureness: int = LIKELY
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files: one module of vilam/data/readers.

    name: for ``prepare.source`` and ``reader.kind``. keeps, loses: what a record has of it, and what it has not, for
    docs/datasets.md. recognises: looks at a folder, or at one file, reads little, and raises nothing on other files.
    exhaustive: whether every object of the categories is marked, so that a category without an object is absent.
    """

    name: str
    title: str
    layout: str
    keeps: str
    loses: str
    recognises: Callable[[Path], Found | None]
    open: Callable[[Path, Recipe, Any], Source]
    exhaustive: bool = True
