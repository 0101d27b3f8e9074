"""Finds files that annotations name: by the end of a path of another machine, among folders, by their own name."""

from __future__ import annotations

import codecs
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from vilam.data.pixels import MEDICAL
from vilam.data.readers.source import ALL, IMAGE_SUFFIXES
from vilam.data.recipes import FormatReader
from vilam.errors import VilamError

HEAD = 1 << 16
"""Bytes of a file that are read to recognise it."""


def is_image(path: Path) -> bool:
    """Whether a file's name is that of a picture; hidden files are none."""
    return path.name.lower().endswith((*IMAGE_SUFFIXES, *MEDICAL)) and not path.name.startswith(".")


def images_below(folder: Path) -> list[Path]:
    """All pictures in a folder and the folders in it, in the order of their paths."""
    found = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if is_image(path))


def stem_path(image: Path, suffix: str = ".txt") -> Path:
    """The path of a picture with another suffix; the end of a number such as 1.2.840 is no suffix."""
    own = image.suffix if is_image(image) else ""
    return image.with_name(image.name[: len(image.name) - len(own)] + suffix)


def under(root: Path, path: Path) -> str:
    """A path relative to the root with /; the name of a file that lies elsewhere."""
    own, beginning = path.as_posix(), f"{root.as_posix()}/"
    if own.startswith(beginning):
        return own[len(beginning) :]
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def find_by_end(folders: Iterable[Path], name: str) -> Path | None:
    """The file or folder that a path means in one of the folders; None if there is none.

    A path of another machine, of Windows, or out of the folder (``../train/images``) is tried without its first parts,
    the longest end first.
    """
    places = tuple(folders)
    text = name.strip().replace("\\", "/")
    direct = Path(text)
    if direct.is_absolute() and _exists(direct):
        return direct
    parts = [part for part in PurePosixPath(text).parts if part not in ("/", ".", "..")]
    if ".." not in PurePosixPath(text).parts and not direct.is_absolute() and not parts:
        return next((folder for folder in places if folder.is_dir()), None)
    for start in range(len(parts)):
        for folder in places:
            if _exists(found := folder.joinpath(*parts[start:])):
                return found
    return None


def _exists(path: Path) -> bool:
    """Whether there is such a file or folder; false for a name that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


class Pictures:
    """The pictures below a folder, found by the paths and addresses that annotations name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_name: dict[str, list[Path]] | None = None

    def find(
        self, name: str, folders: Sequence[Path], foreign: Callable[[str], bool] = lambda folder: False
    ) -> Path | None:
        """The picture in one of the folders, or else the only one of its name below the root; None if there is none.

        name: a path, perhaps of another machine, or an address. foreign: whether pictures in a folder of this name are
        of another part of the set, and must not be taken.
        """
        for text in _readings(name):
            found = find_by_end(folders, text)
            if found is not None and found.is_file():
                return found
        same = [path for path in self._named(name) if not any(map(foreign, path.parent.relative_to(self._root).parts))]
        return same[0] if len(same) == 1 else None

    def first(
        self, names: Sequence[str], folders: Sequence[Path], foreign: Callable[[str], bool] = lambda folder: False
    ) -> Path:
        """The picture of the first of the names that is there (see `find`); if none is, where it should be."""
        found = (self.find(name, folders, foreign) for name in names)
        return next((path for path in found if path is not None), folders[0] / names[0])

    def _named(self, name: str) -> list[Path]:
        if self._by_name is None:
            self._by_name = {}
            for path in images_below(self._root):
                self._by_name.setdefault(path.name.lower(), []).append(path)
        ends = dict.fromkeys(text.replace("\\", "/").rpartition("/")[2].lower() for text in _readings(name))
        return next((found for end in ends if (found := self._by_name.get(end))), [])


def _readings(name: str) -> Iterator[str]:
    """A path as it is, and the path in an address: without its query, decoded, or in its query (?d=)."""
    yield name
    address = urlsplit(name) if "://" in name or "?" in name or "%" in name else None
    if address is not None:
        yield unquote(address.path)
        yield from parse_qs(address.query).get("d", [])


def _text(content: bytes, errors: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 as Windows writes it with a mark at the beginning."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig", errors="replace" if wide else errors)


def lines_of(path: Path, keep_empty: bool = False) -> Iterator[str]:
    """The lines of a text file without spaces around them; raises VilamError if it cannot be read."""
    try:
        lines = _text(path.read_bytes(), "surrogateescape").splitlines()
    except OSError as error:
        raise VilamError(f"{path}: {error.strerror}: check prepare.root") from None
    return (line.strip() for line in lines if keep_empty or line.strip())


def head_of(path: Path) -> str:
    """The beginning of a text file, for `recognises`; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return _text(file.read(HEAD), "replace")
    except OSError:
        return ""


def literal(name: str) -> str:
    """A pattern that matches only this name."""
    return glob.escape(name)


def named_files(root: Path, files: Mapping[str, str]) -> list[tuple[str, Path]]:
    """The files that match a reader's patterns, with their splits."""
    return [(split, path) for split, pattern in files.items() for path in sorted(root.glob(pattern))]


def files_of(root: Path, reader: FormatReader, usual: Iterable[Path]) -> list[tuple[str, Path]]:
    """Annotation files with their split: those of ``reader.files``, else the usual ones, which tell no split.

    Raises VilamError if there are none.
    """
    found = [(ALL, path) for path in usual] if reader.files is None else named_files(root, reader.files)
    if not found:
        raise VilamError(f"{root}: no annotation file: check prepare.root and reader.files")
    return found
