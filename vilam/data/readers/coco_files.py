"""The COCO files of a folder: which JSON files are some, the split of each, and their rows.

A file is known by its lists of images and annotations, whatever its name and folder. Its split is told by its name
(``instances_val2017.json``, ``Validation.json``) or else by its folder (``valid/_annotations.coco.json``); a name that
tells no usual split is a split of its own if another file's does. ``stuff_*`` and ``panoptic_*`` are left out: their
rows are regions of the ground, and pictures as a whole.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vilam.data.readers.dividing import USUAL, usual
from vilam.data.readers.json_parts import Part, parts_of
from vilam.data.readers.paths import head_of
from vilam.data.readers.source import ALL, TRAIN_AND_VAL, Problem
from vilam.errors import VilamError

Row = dict[str, Any]

LOOKED_AT = 50
"""JSON files of one folder that are looked at: formats with a file for each picture have more."""
KINDS = ("instances", "person_keypoints", "keypoints", "captions")
"""What comes first in COCO's own names; a picture's objects are read in this order."""
NO_NAMES = (
    "",
    "default",
    "all",
    "coco",
    "annotations",
    "annotation",
    "labels",
    "result",
    "instances",
    "data",
    "dataset",
)
"""Ends of names that tell no split, in lower case."""
LEFT_OUT = ("stuff_", "panoptic_", "image_info_")
NEEDED: dict[str, set[str]] = {
    "images": {"id"},
    "annotations": {"image_id"},
    "categories": {"id", "name"},
    "licenses": set(),
}
"""COCO's lists, and what each of their rows must have."""
UNTOLD = ("licenses",)
"""Lists of which nothing is told if they are malformed."""
LISTS = (re.compile(rb'"annotations"\s*:\s*\['), re.compile(rb'"images"\s*:\s*\['))
ROBOFLOW = "_annotations.coco.json"
NAMED = (ROBOFLOW, "instances_", "person_keypoints_")
"""Beginnings of names that only COCO's files have."""


@dataclass(frozen=True, slots=True)
class CocoFile:
    """One COCO file. split: its official one under any name, `ALL` if nobody tells. tag: the end of its name."""

    path: Path
    split: str
    tag: str


def find_files(root: Path) -> list[CocoFile]:
    """The COCO files below a folder, those of objects before those of keypoints and captions."""
    tags = {path: _tag(path) for path in coco_paths(root)}
    splits = {path: _split(root, path, tag) for path, tag in tags.items()}
    named = any(split is not None for split in splits.values())
    files = [CocoFile(path, splits[path] or (_own_split(tag) if named else ALL), tag) for path, tag in tags.items()]
    return sorted(files, key=lambda file: (_kind(file.path), file.path))


def named_files(root: Path, files: Mapping[str, str]) -> list[CocoFile]:
    """The files that a recipe names, by split; ``train+val`` is train, of which a part becomes val."""
    found = []
    for split, name in files.items():
        path = root / name
        if not path.is_file():
            raise VilamError(f"{path}: not found: check the recipe's files and prepare.root")
        found.append(CocoFile(path, "train" if split == TRAIN_AND_VAL else split, _tag(path)))
    return found


def instance_files(root: Path) -> list[Path]:
    """COCO's own files of objects, in a root or its annotations folder."""
    return sorted({*root.glob("instances*.json"), *root.glob("annotations/instances*.json")})


def coco_paths(root: Path) -> list[Path]:
    """The JSON files below a folder that are COCO's, or have a name that only these have."""
    own = (path for path in _json_files(root) if not path.name.startswith(LEFT_OUT))
    return [path for path in own if is_coco(path) or _is_broken(path)]


def _is_broken(path: Path) -> bool:
    """Whether a file of a name of COCO's is not even a list, such as of predictions: cut off, or not downloaded."""
    return path.name.startswith(NAMED) and not head_of(path).lstrip().startswith("[")


def is_coco(path: Path) -> bool:
    """Whether a file has COCO's lists, seen without parsing it."""
    try:
        with path.open("rb") as stream:
            if not stream.read(64).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"{"):
                return False
            return not _missing(path, LISTS[:1] if path.name.startswith(KINDS[1:]) else LISTS)
    except OSError:
        return False


def rows_of(path: Path) -> Iterator[Part | Problem]:
    """The rows of a COCO file's lists, each a dict with what its list needs, the problems of others, and ``info``.

    Raises VilamError if it is none, or cannot be read.
    """
    counts: Counter[str] = Counter()
    for part in parts_of(path):
        needed = NEEDED.get(part.name)
        if needed is None:
            yield from [part] if part.name == "info" else []
        elif not part.is_row:
            if not isinstance(part.value, list | None) and part.name not in UNTOLD:
                raise VilamError(f"{path}: {part.name} is no list: fix the file")
            counts[part.name] += isinstance(part.value, list)
        elif isinstance(part.value, dict) and needed <= part.value.keys():
            counts[part.name] += 1
            yield part
        else:
            counts[part.name] += 1
            # files of captions and keypoints may name pictures of the objects' file by number alone
            if part.name not in UNTOLD and not (part.name == "images" and _kind(path)):
                place = f"{path}: row {counts[part.name] - 1} of {part.name}"
                yield Problem("", place, f"it lacks {' or '.join(sorted(needed))}")
    if not counts["annotations"]:
        raise VilamError(f"{path}: not a COCO file: it has no list of annotations")


def read_file(path: Path) -> dict[str, list[Row]]:
    """The good rows of all lists of a COCO file; raises VilamError if it is none, or cannot be read."""
    found: dict[str, list[Row]] = {name: [] for name in NEEDED}
    for part in rows_of(path):
        if isinstance(part, Part) and part.is_row:
            found[part.name].append(part.value)
    return found


def _json_files(root: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        own = [name for name in sorted(names) if name.lower().endswith(".json") and not name.startswith(".")]
        yield from (Path(parent, name) for name in own[:LOOKED_AT])


def _missing(path: Path, patterns: Iterable[re.Pattern[bytes]]) -> set[re.Pattern[bytes]]:
    """Which patterns a file does not have; it is read piece by piece until all are found."""
    left, end = set(patterns), b""
    with path.open("rb") as stream:
        while left and (piece := stream.read(1 << 20)):
            text = end + piece.replace(b"\0", b"")  # of UTF-16
            left = {pattern for pattern in left if not pattern.search(text)}
            end = text[-64:]
    return left


def _kind(path: Path) -> int:
    return next((number for number, kind in enumerate(KINDS) if number and path.name.startswith(kind)), 0)


def _tag(path: Path) -> str:
    """The end of a file's name that tells its split: ``val2017`` of instances_val2017.json."""
    name = path.name[: -len(".json")]
    if path.name == ROBOFLOW:
        return ""
    name = re.sub(r"^(lvis_v\d(\.\d)?|instances|person|keypoints|captions|annotations)_", "", name)
    return re.sub(r"^(keypoints|annotations)_", "", name)


def _split(root: Path, path: Path, tag: str) -> str | None:
    """The usual split that a file's name tells, or the nearest folder with the name of one; None if none does."""
    words = {word for word in map(usual, re.split(r"[^A-Za-z0-9]+", tag)) if word}
    if tag.lower().startswith("trainval") or {"train", "val"} <= words:
        return ALL
    folders = [usual(folder) for folder in path.parent.relative_to(root).parts[::-1]]
    return next((split for split in USUAL if split in words), None) or next(filter(None, folders), None)


def _own_split(tag: str) -> str:
    return ALL if tag.lower() in NO_NAMES else tag
