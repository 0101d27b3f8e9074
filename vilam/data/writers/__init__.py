"""Writers: a file for each format in which a data set is given away; `vilam publish --format` names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vilam.data.records import DatasetCard
from vilam.data.writers.labelstudio import write_labelstudio
from vilam.data.writers.ms_swift import write_ms_swift
from vilam.data.writers.odvg import write_odvg
from vilam.data.writers.pictures import Records
from vilam.data.writers.yolo import write_yolo

__all__ = ["WRITERS", "Records"]

WRITERS: dict[str, Callable[[DatasetCard, Records, Path], None]] = {
    "labelstudio": write_labelstudio,
    "ms_swift": write_ms_swift,
    "odvg": write_odvg,
    "yolo": write_yolo,
}
