"""The splits of Pascal VOC files: lists in ImageSets, lists beside the folders, or folders with names of splits.

A list names an image in each line: its stem, perhaps with folders before it, a suffix behind it, or the -1, 0 or 1 of a
class behind that. Lists of classes (``cat_train.txt``) tell nothing more than the list they are of. ``trainval`` is
train, without the images of other lists. An image of several lists is held out.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vilam.data.kinds import UNREADABLE
from vilam.data.readers.dividing import split_name, usual
from vilam.data.readers.paths import is_image, lines_of
from vilam.data.readers.source import Problem

logger = logging.getLogger(__name__)

LISTS = "ImageSets"
TRAINVAL = ("trainval", "train_val", "train+val")
UNDIVIDED = ("default", "all", "images", "classes", "labels", "readme")
"""Names of lists that tell no split."""
FLAG = re.compile(r"\s+(-1|0|1)$")
LAST = ("train", "trainval")
"""Lists that give way to all others."""


@dataclass(frozen=True, slots=True)
class Lists:
    """What lists say of the files of a folder: splits by file, and problems for images without a file."""

    splits: Mapping[Path, str]
    problems: tuple[Problem, ...] = ()


def read_lists(folder: Path, annotations: Path, files: Iterable[Path]) -> Lists | None:
    """What the lists of one folder say of its annotation files; None if there are no lists.

    annotations: the folder under which a stem is a path.
    """
    lists = _lists(folder)
    stems = _stems(annotations, files)
    splits: dict[Path, str] = {}
    problems: list[Problem] = []
    for name in sorted(lists, key=lambda name: LAST.index(name) + 1 if name in LAST else 0):
        listed = (line for path in lists[name] for line in lines_of(path))
        found = {line: own for line in listed if (own := _file(line, stems)) or not line.startswith("#")}
        if not any(found.values()):
            logger.warning("%s: none of its images has an annotation file: left out", lists[name][0])
            continue
        split = "train" if name == "trainval" else name
        for line, path in found.items():
            if path is None:
                message = f"listed in {lists[name][0].name}, but not there"
                problems.append(Problem(split, str(annotations / f"{FLAG.sub('', line)}.xml"), message, UNREADABLE))
            else:
                splits.setdefault(path, split)
    if not splits:
        return None
    others = [path for path in dict.fromkeys(stems.values()) if path not in splits]
    if others and "train" in splits.values():
        logger.info("%s: %d files are in no list and are left out", annotations, len(others))
        return Lists(splits, tuple(problems))
    return Lists({**splits, **dict.fromkeys(others, "train")}, tuple(problems))


def _stems(annotations: Path, files: Iterable[Path]) -> dict[str, Path]:
    """The files by their paths under a folder without suffix, and by their names alone if these are unique."""
    found = {path.relative_to(annotations).with_suffix("").as_posix(): path for path in files}
    counts = Counter(path.stem for path in found.values())
    return {**{path.stem: path for path in found.values() if counts[path.stem] == 1}, **found}


def _lists(folder: Path) -> dict[str, list[Path]]:
    """The lists of a folder by split: of ImageSets/Main, else of another folder of ImageSets, else beside it."""
    below = sorted(path for path in (folder / LISTS).glob("*") if path.is_dir() and path.name != "Main")
    for place in (folder / LISTS / "Main", folder / LISTS, *below):
        if found := dict(_grouped(sorted(place.glob("*.txt")))):
            return found
    beside = [path for path in sorted(folder.glob("*.txt")) if usual(path.stem) or _name(path.stem) == "trainval"]
    return dict(_grouped(beside))


def _grouped(paths: list[Path]) -> Iterator[tuple[str, list[Path]]]:
    """Lists by split; those of classes only if there is no other."""
    of_classes = [path for path in paths if _class_split(path, paths)]
    listed = [path for path in paths if path.stem.lower() not in UNDIVIDED and path not in of_classes]
    for path in listed:
        yield _name(path.stem), [path]
    if not listed:
        for split in dict.fromkeys(_class_split(path, paths) for path in of_classes):
            yield _name(split), [path for path in of_classes if _class_split(path, paths) == split]


def _class_split(path: Path, paths: list[Path]) -> str:
    """The end of the name of a class's list, such as ``train`` of ``cat_train.txt``; "" for other lists."""
    _, line, end = path.stem.rpartition("_")
    known = usual(end) or end in TRAINVAL or any(other.stem == end for other in paths)
    return end if line and known and path.stem.lower() not in TRAINVAL else ""


def _name(stem: str) -> str:
    return "trainval" if stem.lower() in TRAINVAL else usual(stem) or split_name(stem)


def _file(line: str, stems: Mapping[str, Path]) -> Path | None:
    """The annotation file of a line: by the whole line, without the flag of a class, or by its first word."""
    for text in dict.fromkeys((line, FLAG.sub("", line), *line.split()[:1])):
        path = Path(text.replace("\\", "/"))
        stem = path.with_suffix("") if is_image(path) or path.suffix.lower() == ".xml" else path
        parts = [part for part in stem.parts if part not in (".", "/")]
        for start in range(len(parts)):
            if found := stems.get("/".join(parts[start:])):
                return found
    return None
