"""Finds files that annotations name: by the end of a path of another machine, among folders, by their own name."""

from __future__ import annotations

import codecs
import glob
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TextIO
from urllib.parse import parse_qs, unquote, urlsplit

from vilam.data.pixels import MEDICAL
from vilam.data.readers.naming import without_suffix
from vilam.data.readers.source import ALL, IMAGE_SUFFIXES
from vilam.data.recipes import FormatReader
from vilam.errors import VilamError

ALONE = ("annotations", "annotation", "ann")
"""Names of folders that hold annotations alone, in lower case: the pictures lie beside them."""
HEAD = 1 << 16
"""Bytes of a file that are read to recognise it."""


def is_image(path: Path) -> bool:
    """Whether a file's name is that of a picture; hidden files are none."""
    return path.name.lower().endswith((*IMAGE_SUFFIXES, *MEDICAL)) and not path.name.startswith(".")


def images_below(folder: Path) -> list[Path]:
    """All pictures in a folder and the folders in it, in the order of their paths."""
    found = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if is_image(path))


def place_of(file: Path) -> tuple[Path, str]:
    """The folder of the set that a file of annotations is of, above one of annotations alone, and its pattern there."""
    folder = file.parent.parent if file.parent.name.lower() in ALONE else file.parent
    return folder, glob.escape(file.relative_to(folder).as_posix())


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


def folded(name: str) -> str:
    """A file's name as it is compared: case, decoding (%20) and composition of its characters make no difference."""
    return unicodedata.normalize("NFC", unquote(name)).casefold()


Foreign = Callable[[str], bool]
"""Whether pictures in a folder of this name are of another part of the set, and must not be taken."""


class Pictures:
    """The pictures below a folder, found by the paths and addresses that annotations name.

    renamed: names of annotations with the pictures that were taken for them although their names differ: in case or
    spelling, or in the suffix, such as a.jpg for a.png.
    """

    def __init__(self, root: Path, spelling: Callable[[str], str] = folded) -> None:
        """``spelling``: names that it makes equal differ in their spelling alone."""
        self._root, self._spelling = root, spelling
        self._is_listed = False
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        self.renamed: dict[str, Path] = {}

    def find(self, name: str, folders: Sequence[Path], foreign: Foreign = lambda folder: False) -> Path | None:
        """The picture in one of the folders, or else the only one of its name below the root; None if there is none.

        name: a path, perhaps of another machine, or an address. If no picture has the name, the only one is taken that
        has it in another spelling, or with another suffix.
        """
        return self._exact(name, folders, foreign) or self._alike(name, folders, foreign)

    def first(self, names: Sequence[str], folders: Sequence[Path], foreign: Foreign = lambda folder: False) -> Path:
        """The picture of the first of the names that is there (see `find`); if none is, where it should be."""
        found = (way(name, folders, foreign) for way in (self._exact, self._alike) for name in names)
        return next((path for path in found if path is not None), folders[0] / names[0])

    def _exact(self, name: str, folders: Sequence[Path], foreign: Foreign) -> Path | None:
        for text in _readings(name):
            found = find_by_end(folders, text)
            if found is not None and found.is_file():
                return found
        self._list()
        return self._only([self._by_name.get(_last(text), []) for text in _readings(name)], name, folders, foreign)

    def _alike(self, name: str, folders: Sequence[Path], foreign: Foreign) -> Path | None:
        own = [self._spelling(_last(text)) for text in _readings(name)]
        stems = [self._by_stem.get(without_suffix(one), []) for one in own]
        spelled = [[path for path in found if self._spelling(path.name) in own] for found in stems]
        found = self._only([*spelled, *stems], name, folders, foreign)
        if found is not None and is_image(Path(_last(name))):
            self.renamed[name] = found
        return found

    def _only(
        self, listed: Sequence[Sequence[Path]], name: str, folders: Sequence[Path], foreign: Foreign
    ) -> Path | None:
        """The only picture of the first list that has some, or the only one there in the folders; else None."""
        found = next(filter(None, listed), ())
        own = [path for path in found if not any(map(foreign, path.parent.relative_to(self._root).parts))]
        last = PurePosixPath(name.replace("\\", "/")).parent.name
        near = [path for path in own if path.parent in folders or (last and path.parent.name == last)]
        return next((some[0] for some in (own, near) if len(some) == 1), None)

    def _list(self) -> None:
        """List the pictures, once."""
        if not self._is_listed:
            self._is_listed = True
            for path in images_below(self._root):
                self._by_name.setdefault(path.name, []).append(path)
                self._by_stem.setdefault(without_suffix(self._spelling(path.name)), []).append(path)


def _last(name: str) -> str:
    return name.strip().replace("\\", "/").rpartition("/")[2]


def _readings(name: str) -> Iterator[str]:
    """A path as it is, and the path in an address: without its query, decoded, or in its query (?d=)."""
    yield name
    address = urlsplit(name) if "://" in name or "?" in name or "%" in name else None
    if address is not None:
        yield unquote(address.path)
        yield from parse_qs(address.query).get("d", [])


def encoding_of(path: Path) -> str:
    """The encoding of a text file: UTF-8, or what the mark at its beginning says (UTF-16 or 32, as Windows writes it).

    Raises OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        return _encoding(file.read(len(codecs.BOM_UTF32_LE)))


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def open_text(path: Path, newline: str | None = None, errors: str = "replace") -> TextIO:
    """A text file to be read in its `encoding_of`; newline and errors as `open` has them."""
    return path.open(encoding=encoding_of(path), errors=errors, newline=newline)


def lines_of(path: Path, keep_empty: bool = False) -> Iterator[str]:
    """The lines of a text file without spaces around them; raises VilamError if it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise VilamError(f"{path}: {error.strerror}: check prepare.root") from None
    encoding = _encoding(content)
    lines = content.decode(encoding, "surrogateescape" if encoding == "utf-8-sig" else "replace").splitlines()
    return (line.strip() for line in lines if keep_empty or line.strip())


def head_of(path: Path, size: int = HEAD) -> str:
    """The first bytes of a text file, for `recognises`; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except OSError:
        return ""
    return content.decode(_encoding(content), "replace")


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
