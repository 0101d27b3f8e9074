"""Finds files that annotations name: by the end of a path of another machine, among folders, by their own name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from vilam.data.readers.images import MEDICAL
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
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def find_by_end(folders: Iterable[Path], name: str) -> Path | None:
    """The file or folder that a path means in one of the folders; None if there is none.

    A path of another machine, of Windows, or out of the folder (``../train/images``) is tried without its first parts,
    the longest end first.
    """
    places = tuple(folders)
    text = name.strip().replace("\\", "/")
    direct = Path(text)
    if direct.is_absolute() and direct.exists():
        return direct
    parts = [part for part in PurePosixPath(text).parts if part not in ("/", ".", "..")]
    if ".." not in PurePosixPath(text).parts and not direct.is_absolute() and not parts:
        return next((folder for folder in places if folder.is_dir()), None)
    for start in range(len(parts)):
        for folder in places:
            if (found := folder.joinpath(*parts[start:])).exists():
                return found
    return None


def lines_of(path: Path, keep_empty: bool = False) -> Iterator[str]:
    """The lines of a text file without spaces around them; raises VilamError if it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise VilamError(f"{path}: {error.strerror}: check prepare.root") from None
    return (line.strip() for line in lines if keep_empty or line.strip())


def head_of(path: Path) -> str:
    """The beginning of a text file, for `recognises`; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""


def literal(name: str) -> str:
    """A pattern that matches only this name."""
    return glob.escape(name)


def files_of(root: Path, reader: FormatReader, usual: Iterable[Path]) -> list[tuple[str, Path]]:
    """Annotation files with their split: those of ``reader.files``, else the usual ones, which tell no split.

    Raises VilamError if there are none.
    """
    if reader.files is None:
        found = [(ALL, path) for path in usual]
    else:
        found = [(split, path) for split, pattern in reader.files.items() for path in sorted(root.glob(pattern))]
    if not found:
        raise VilamError(f"{root}: no annotation file: check prepare.root and reader.files")
    return found


class Pictures:
    """Pictures below a root: found by the end of a path, and else by a name that only one of them has."""

    def __init__(self, root: Path, folders: Iterable[str] = ()) -> None:
        """folders: under the root, searched before it."""
        self._root = root
        self._folders = (*(root / folder for folder in folders), root)
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, *names: str) -> Path:
        """The picture of the first of the names that is there; the path under the root of the first if none is."""
        for name in names:
            try:
                found = find_by_end(self._folders, name)
            except OSError:  # a name that is longer than a file system allows
                continue
            if found is not None and found.is_file():
                return found
        own = [PurePosixPath(name.replace("\\", "/")).name for name in names]
        return next((alike[0] for name in own if len(alike := self._alike(name)) == 1), self._root / names[0])

    def _alike(self, name: str) -> list[Path]:
        if self._by_name is None:
            self._by_name = {}
            for path in images_below(self._root):
                self._by_name.setdefault(path.name, []).append(path)
        return self._by_name.get(name, [])
