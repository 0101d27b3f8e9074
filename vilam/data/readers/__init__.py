"""Readers: one file a source format, all giving the same raw rows."""

from __future__ import annotations

from pathlib import Path

from vilam.config import PrepareSettings
from vilam.data.readers.coco import open_coco
from vilam.data.readers.refcoco import open_refcoco
from vilam.data.readers.scenes import open_scenes
from vilam.data.readers.source import Problem, RawRecord, Source
from vilam.data.readers.voc import open_voc
from vilam.errors import VilamError

__all__ = ["Problem", "RawRecord", "Source", "open_source"]

READERS = {"coco": open_coco, "refcoco": open_refcoco, "voc": open_voc}
"""Sources that are read from files, by the word in params.yaml."""


def open_source(settings: PrepareSettings, seed: int) -> Source:
    """The source that the settings name, ``seed`` for generated scenes; raises VilamError where files are missing."""
    if settings.source == "scenes":
        return open_scenes(settings.scenes, seed)
    root = Path(settings.root or ".")
    if not root.is_dir():
        raise VilamError(f"{root}: no such folder: set prepare.root to the {settings.source} folder")
    return READERS[settings.source](root)
