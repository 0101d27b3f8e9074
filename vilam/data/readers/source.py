"""What every reader returns: the facts of a data set and its raw records, not yet checked."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vilam.data.records import ImageRecord, KeypointSchema, Levels
from vilam.draws import bucket
from vilam.errors import VilamError, one_line

ALL, TRAIN_AND_VAL = "all", "train+val"
PARTS = {ALL: ("val", "test", *("train",) * 8), TRAIN_AND_VAL: ("val", *("train",) * 9)}
"""Names, in recipes, of images that are not divided into splits yet, and the split of each tenth of them."""
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jfif", ".jp2", ".ppm", ".pgm", ".avif"),
    *(".heic", ".heif"),
)
"""In lower case; those that Pillow may not read are listed, so that such a picture is told."""
OBJECT = "object"
"""The category of an object whose own is not told."""
MALFORMED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What is raised by values of another form than expected."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as the source has it, and its location (file, row) for messages."""

    record: ImageRecord
    location: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A row, or a part of it, that could not be read: its split, its location (file, row) and what is wrong with it.

    kind: one of vilam/data/kinds.py; "" if the message tells. category: of the object that is lost with it, if it is
    one object and has one.
    """

    split: str
    location: str
    message: str
    kind: str = ""
    category: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A data set to read.

    rows: lazy, iterated once. num_images: known in advance. is_exhaustive: whether every object of the categories is a
    region. domain: a sentence about all images; see `ImageRecord`. levels: of images of more than 8 bits; see
    `DatasetCard`.
    """

    name: str
    categories: tuple[str, ...]
    keypoints: dict[str, KeypointSchema]
    splits: tuple[str, ...]
    licences: tuple[str, ...]
    num_images: int
    rows: Iterator[RawRecord | Problem]
    is_exhaustive: bool = False
    domain: str = ""
    levels: Levels | None = None


def split_of(name: str, parts: str = ALL) -> str:
    """The split of an image of ``parts``, by a hash of its name.

    ``all`` is divided 8 : 1 : 1 and ``train+val`` 9 : 1; any other name is a split itself.
    """
    return PARTS[parts][bucket(10, name)] if parts in PARTS else parts


def split_order(split: str) -> tuple[int, str]:
    """A sort key that puts train, val and test first."""
    order = ("train", "val", "test")
    return (order.index(split), "") if split in order else (len(order), split)


def group_of(name: str, together: str | None) -> str:
    """The part of an image's name whose hash decides its split, by a recipe's pattern; else the whole name."""
    found = re.search(together, name) if together else None
    return found[1] if found else name


def read_json(path: Path) -> Any:
    """The content of a JSON file in UTF-8, UTF-16 or UTF-32; raises VilamError if it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise VilamError(f"{path}: {error.strerror}: check prepare.root") from None
    except UnicodeDecodeError as error:
        raise VilamError(
            f"{path}: byte {error.start + 1} is not {error.encoding.upper()}: save the file in UTF-8, for instance "
            "by iconv -f latin1 -t utf-8"
        ) from None
    except (ValueError, RecursionError) as error:
        raise VilamError(f"{path}: not readable as JSON: {error}") from None


def wrong(error: BaseException) -> str:
    """What is wrong with a row that raised one of `MALFORMED`, on one line."""
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) and error.args else one_line(error)


def find_image(folders: tuple[Path, ...], name: str) -> Path | None:
    """The path of the first file of that name in the folders; None if there is none."""
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def stem(path: Path) -> str:
    """A file's name without its suffix; ``.nii.gz`` counts as one suffix."""
    return path.name.removesuffix(".gz").rpartition(".")[0]


def files_beside(root: Path, pattern: str, image: Path) -> list[Path]:
    """Files that belong to an image, by a recipe's pattern (see `MasksReader`)."""
    folder = image.parent.relative_to(root)
    folders = {"folder": folder.as_posix(), "parent": folder.parent.as_posix(), "name": folder.name}
    parts = {"stem": stem(image), **folders}
    filled = pattern.format(**{name: glob.escape(part) for name, part in parts.items()})
    return sorted(path for path in root.glob(filled) if path != image)


def files_alone(root: Path, pattern: str, beside: str | None) -> list[Path]:
    """Files that match a pattern, without those that another pattern finds beside them: images without masks."""
    found = sorted(path for path in root.glob(pattern) if path.is_file())
    belonging = {file for path in found for file in files_beside(root, beside, path)} if beside else set()
    return [path for path in found if path not in belonging]


def need_files_beside(root: Path, files: Iterable[tuple[Path, str]], what: str) -> None:
    """Raises VilamError if no image of (image, pattern) has a file beside it: the pattern does not fit the set."""
    patterns: dict[str, Path] = {}
    for image, pattern in files:
        if files_beside(root, pattern, image):
            return
        patterns.setdefault(pattern, image)
    if patterns:
        tried = "; ".join(f"{pattern}, for instance of {image}" for pattern, image in patterns.items())
        raise VilamError(f"{root}: no image has {what}: no file matches {tried}: check the recipe's pattern")


def tidy(text: str) -> str:
    """An expression or caption on one line; square brackets, which mark coordinates, become round ones."""
    return " ".join(whole_characters(text).replace("[", "(").replace("]", ")").split())


def whole_characters(text: str) -> str:
    """The text with a question mark for each half of a character, which JSON can name and no file can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
