"""COCO: objects, keypoints and captions in JSON files of any names, in one file or in several for each split.

All JSON files below the root with COCO's lists are read (see vilam/data/readers/coco_files.py); files of one split are
put together by picture and annotation, as COCO's own ``instances_*``, ``person_keypoints_*`` and ``captions_*``. A
recipe may name the file of each split instead. Each file has its own numbers of categories; names decide.

Pictures are found by ``file_name``, else by ``coco_url``, in the folder of their split, beside their file, in
``images`` or in the root, or else by their name alone, but never in a folder of another split.

In LVIS only the categories that a picture names as negative are absent, and of some it names not all objects are
marked; all others are unmarked. Crowds are no objects: their categories are unmarked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vilam.data.readers.coco_files import (
    ROBOFLOW,
    CocoFile,
    Content,
    coco_paths,
    find_files,
    is_coco,
    named_files,
    read_file,
)
from vilam.data.readers.coco_numbers import Sample, fault_of
from vilam.data.readers.coco_rows import (
    PERSON,
    UNREADABLE,
    is_crowd,
    keypoint_schema,
    shapes_of,
)
from vilam.data.readers.dividing import USUAL, usual
from vilam.data.readers.formats import CLEAR, LIKELY, Format, Found
from vilam.data.readers.items import Item, Listing, Shape, source_of
from vilam.data.readers.paths import Pictures, under
from vilam.data.readers.source import ALL, Problem, Source, tidy
from vilam.data.recipes import CocoReader, Recipe
from vilam.data.records import KeypointSchema
from vilam.errors import VilamError
from vilam.geometry.boxes import Box

logger = logging.getLogger(__name__)

Row = dict[str, Any]

PICTURE_NAMES = ("file_name", "coco_url", "path")
"""What tells a picture's file, in the order in which it is tried."""
OUTSIDE = ("annotations", "labels")
"""Names of a folder that holds annotations alone: pictures are beside it."""
SAMPLED = 20_000
"""Boxes of a file whose numbers are looked at."""
STORED_SIZES = "Label Studio"
"""Its sizes are of the stored pixels, and its boxes of the upright picture."""


@dataclass(slots=True)
class _Picture:
    """A picture of one split, with the rows of all files about it.

    objects: category, annotation and file. marked: the categories of each file. negative: LVIS's categories that are
    absent, None if the files are not LVIS's. partly: categories of which not all objects are marked.
    """

    path: Path
    split: str
    location: str
    size: tuple[int, int] | None
    licence: str
    objects: list[tuple[str, Row, CocoFile]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    marked: list[Iterable[str]] = field(default_factory=list)
    negative: set[str] | None = None
    partly: set[str] = field(default_factory=set)


def recognises(root: Path) -> Found | None:
    """JSON files with COCO's lists of images and annotations below a folder, or such a file itself."""
    if root.is_file():
        if root.suffix.lower() != ".json" or not is_coco(root):
            return None
        folder = root.parent.parent if root.parent.name.lower() in OUTSIDE else root.parent
        reader = CocoReader(kind="coco", files={ALL: root.relative_to(folder).as_posix()})
        return Found(_title([root]), reader, folder, CLEAR)
    paths = coco_paths(root) if root.is_dir() else []
    if not paths:
        return None
    sure = any(path.name == ROBOFLOW or path.name.startswith(("instances_", "person_keypoints_")) for path in paths)
    return Found(_title(paths), CocoReader(kind="coco"), root, CLEAR if sure else LIKELY, _readme_licence(root))


def open_coco(root: Path, recipe: Recipe, reader: CocoReader) -> Source:
    """Read the annotations below a root; the pictures are read one by one as the rows are iterated.

    Raises VilamError if there are none, if no picture is there, or if boxes are not x, y, width, height in pixels.
    """
    files = named_files(root, reader.files) if reader.files else find_files(root)
    if not files:
        seen = ", ".join(sorted(path.name for path in root.rglob("*.json"))[:3])
        lists = "a JSON file with lists of images, annotations and categories"
        raise VilamError(f"{root}: no COCO file{f' ({seen})' if seen else ''}: expected {lists}: check prepare.root")
    gathered = _Gathered(root, reader.images, files)
    unlabelled = []
    for file in files:
        content = read_file(file.path)
        if content.annotations:
            gathered.add(file, content)
        else:
            unlabelled.append((file, content))
    for file, content in unlabelled:
        gathered.add_unlabelled(file, content)
    return source_of(gathered.listing(), recipe)


class _Gathered:
    """The pictures of all files of a data set, each once in a split."""

    def __init__(self, root: Path, images: Sequence[str], files: Sequence[CocoFile]) -> None:
        self.root, self.files, self.images = root, files, [root / folder for folder in images]
        self.found = Pictures(root)
        self.pictures: dict[tuple[str, Path], _Picture] = {}
        self.ids: dict[tuple[str, str], _Picture] = {}
        self.categories: dict[str, Row] = {}
        self.roots: set[str] = set()
        self.samples: list[Sample] = []
        self.problems: list[Problem] = []
        self.missing: list[str] = []

    def add(self, file: CocoFile, content: Content) -> None:
        """Take the rows of a file; raises VilamError if its boxes are not COCO's."""
        self.problems += [Problem(file.split, one.location, one.message) for one in content.problems]
        names = _names(content.categories)
        for row in content.categories:
            name = _name(row)
            known = self.categories.setdefault(name, row)
            if row.get("keypoints") and not known.get("keypoints"):
                self.categories[name] = row
        self.roots |= _roots(content)
        pictures = dict(self._pictures(file, content, names))
        samples = [one for row in content.annotations if (one := self._annotation(file, row, names, pictures))][
            :SAMPLED
        ]
        self.samples += samples if len(samples) < SAMPLED else []
        _check(str(file.path), samples)

    def add_unlabelled(self, file: CocoFile, content: Content) -> None:
        """Take a file without any annotation, after all others: if these have some, its pictures are not labelled."""
        if any(picture.objects for picture in self.pictures.values()):
            told = f"no annotations: its {len(content.images)} pictures are not labelled, and are left out"
            self.problems.append(Problem(file.split, str(file.path), told))
        else:
            self.add(file, content)

    def _pictures(
        self, file: CocoFile, content: Content, names: Mapping[str, set[str]]
    ) -> Iterator[tuple[str, _Picture | None]]:
        """The picture of each id; None if it is not there, or two pictures have the id."""
        folders, foreign = self._folders(file), self._foreign(file)
        marked = frozenset(name for own in names.values() for name in own)
        licences = {_key(one.get("id")): str(one.get("name") or one.get("url") or "") for one in content.licences}
        own: dict[str, Path] = {}
        for row in content.images:
            key, location = _key(row["id"]), f"{file.path}: image {row['id']}"
            listed = [str(row[name]) for name in PICTURE_NAMES if row.get(name)]
            path = next((one for name in listed if (one := self.found.find(name, folders, foreign))), None)
            if path is None:
                told = f"image file {listed[0]} not found" if listed else "it has no file_name"
                self.problems.append(Problem(file.split, location, told))
                self.missing += listed[:1]
                own.pop(key, None)
                yield key, None
            elif own.setdefault(key, path) != path:
                told = f"{path.name} and {own[key].name} have the same id: whose annotations are they?"
                self.problems.append(Problem(file.split, location, told))
                self.pictures.pop((file.split, own[key]), None)
                yield key, None
            else:
                new = _Picture(path, file.split, location, _size(row, content.tool), _licence(row, licences))
                picture = self.pictures.setdefault((file.split, path), new)
                picture.marked.append(marked)
                _add_lvis(picture, row, names)
                self.ids[file.split, key] = picture
                yield key, picture

    def _annotation(
        self, file: CocoFile, row: Row, names: Mapping[str, set[str]], pictures: Mapping[str, _Picture | None]
    ) -> Sample | None:
        """Give an annotation to its picture; its numbers if they are a box."""
        key, location = _key(row["image_id"]), f"annotation {row.get('id')}"
        picture = pictures.get(key) or (self.ids.get((file.split, key)) if not pictures else None)
        if picture is None:
            if key not in pictures:
                told = f"its image {row['image_id']} is not in the file"
                self.problems.append(Problem(file.split, f"{file.path}: {location}", told))
            return None
        if "caption" in row and "bbox" not in row:
            picture.captions.append(str(row["caption"]))
            return None
        own = names.get(_key(row.get("category_id")), set())
        if _known(picture, row, own, file):
            return None
        if len(own) != 1:
            number = row.get("category_id")
            told = f"category id {number} is {' and '.join(sorted(own))}" if own else f"unknown category id {number}"
            picture.problems.append(Problem("", location, told))
            return None
        picture.objects.append((next(iter(own)), row, file))
        return None if is_crowd(row) else _sample(row, picture.size)

    def listing(self) -> Listing:
        """All pictures; raises VilamError if there are none, or no objects."""
        if self.missing and not self.pictures:
            raise VilamError(
                f"{self.root}: none of {len(self.missing)} pictures is there: {self.missing[0]} is missing: "
                "put the pictures beside the annotations or in images"
            )
        used = {name for picture in self.pictures.values() for name, _, _ in picture.objects}
        if not self.categories and any(picture.captions for picture in self.pictures.values()):
            raise VilamError(f"{self.root}: captions alone, no objects: put instances_*.json beside them")
        _check(str(self.root), self.samples)
        categories = [name for name in self.categories if name in used or name not in self.roots]
        pictures = _without_doubles(self.pictures)
        held_out = {picture.split for picture in pictures} - {ALL, "train"}
        items = [_item(self.root, picture, categories, bool(held_out)) for picture in pictures]
        return Listing(items, categories, self._schemas(), self.problems)

    def _schemas(self) -> dict[str, KeypointSchema]:
        """The schema of each category that has keypoints; of as many points as there are if no file tells it."""
        found: dict[str, KeypointSchema] = {}
        for picture in self.pictures.values():
            for name, row, _ in picture.objects:
                if isinstance(points := row.get("keypoints"), list) and len(points) % 3 == 0 and any(points):
                    found.setdefault(name, _schema(len(points) // 3))
        for name, row in self.categories.items():
            if isinstance(row.get("keypoints"), list) and row["keypoints"]:
                try:
                    found[name] = keypoint_schema(row)
                except UNREADABLE:
                    self.problems.append(Problem("", f"category {name}", "its keypoints or skeleton cannot be read"))
        return found

    def _folders(self, file: CocoFile) -> list[Path]:
        """The folders that may hold the pictures of a file: of its own split first."""
        beside = [self.root.parent / "images", self.root.parent] if self.root.name.lower() in OUTSIDE else []
        bases = [base for base in (self.root / "images", self.root, file.path.parent, *beside) if base.is_dir()]
        names = {file.tag.lower(), file.split.lower()} - {"", ALL}
        own = [
            folder
            for base in bases
            for folder in sorted(base.iterdir())
            if folder.is_dir() and (folder.name.lower() in names or usual(folder.name) == file.split)
        ]
        own += [folder / "images" for folder in own if (folder / "images").is_dir()]
        return list(dict.fromkeys([*self.images, *own, file.path.parent, *bases]))

    def _foreign(self, file: CocoFile) -> Callable[[str], bool]:
        """Whether a folder is of another split than a file's."""
        others = {other.split for other in self.files} & {*USUAL} - {file.split}
        tags = {other.tag.lower() for other in self.files if other.split != file.split} - {""}
        return lambda folder: folder.lower() in tags or usual(folder) in others


def _check(where: str, samples: Sequence[Sample]) -> None:
    fault = fault_of(samples)
    if fault is not None:
        raise VilamError(f"{where}: {fault}")


def _without_doubles(pictures: Mapping[tuple[str, Path], _Picture]) -> list[_Picture]:
    """The pictures without those of an undivided file, such as trainval, that another file has in a split."""
    divided = {path for split, path in pictures if split != ALL}
    doubles = [path for split, path in pictures if split == ALL and path in divided]
    if doubles:
        logger.info("%d pictures of files without a split are in files with one, and are read there", len(doubles))
    return [one for (split, path), one in pictures.items() if split != ALL or path not in divided]


def _item(root: Path, picture: _Picture, categories: Sequence[str], held_out: bool) -> Item:
    return Item(
        picture.path,
        under(root, picture.path),
        "train" if held_out and picture.split == ALL else picture.split,
        picture.location,
        partial(_shapes, picture),
        size=picture.size,
        captions=tuple(picture.captions),
        licence=picture.licence,
        unmarked=partial(_unmarked, picture, categories),
    )


def _shapes(picture: _Picture) -> list[Shape | Problem]:
    return [*shapes_of((name, row) for name, row, _ in picture.objects), *picture.problems]


def _unmarked(picture: _Picture, categories: Sequence[str]) -> list[str]:
    """The categories of which a picture may have objects that are not marked."""
    marked = {name for names in picture.marked for name in names}
    if picture.negative is not None:
        marked &= picture.negative | {name for name, _, _ in picture.objects}
    crowds = {name for name, row, _ in picture.objects if is_crowd(row)}
    return [name for name in categories if name not in marked or name in crowds or name in picture.partly]


def _add_lvis(picture: _Picture, row: Row, names: Mapping[str, set[str]]) -> None:
    """What LVIS tells of a picture's categories."""
    if isinstance(row.get("neg_category_ids"), list):
        picture.negative = (picture.negative or set()).union(*(_named(names, row["neg_category_ids"])))
    if isinstance(row.get("not_exhaustive_category_ids"), list):
        picture.partly.update(*_named(names, row["not_exhaustive_category_ids"]))


def _named(names: Mapping[str, set[str]], ids: list[Any]) -> list[set[str]]:
    return [names.get(_key(one), set()) for one in ids]


def _known(picture: _Picture, row: Row, names: set[str], file: CocoFile) -> bool:
    """Whether an annotation is there from another file; what it tells beside that is added, such as keypoints."""
    for number, (name, other, source) in enumerate(picture.objects):
        same_id = row.get("id") is not None and _key(row["id"]) == _key(other.get("id"))
        if source is not file and same_id and names <= {name} and row.get("bbox") in (None, other.get("bbox")):
            picture.objects[number] = (name, {**row, **{key: value for key, value in other.items() if value}}, source)
            return True
    return False


def _names(categories: Iterable[Row]) -> dict[str, set[str]]:
    """The names that each category id has in one file: one, unless the file is broken."""
    found: dict[str, set[str]] = {}
    for row in categories:
        found.setdefault(_key(row["id"]), set()).add(_name(row))
    return found


def _name(row: Row) -> str:
    return tidy(str(row["name"]))


def _roots(content: Content) -> set[str]:
    """Roboflow's category for the project: the parent of the others, which has no parent."""
    parents = {tidy(str(row.get("supercategory"))) for row in content.categories}
    return {
        _name(row)
        for row in content.categories
        if str(row.get("supercategory")).lower() == "none" and _name(row) in parents
    }


def _key(value: object) -> str:
    """An id as it is compared: 7, 7.0 and "7" are the same."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _size(row: Row, tool: str) -> tuple[int, int] | None:
    """Width and height that the file tells; None if it does not, or tells those of the stored pixels."""
    try:
        width, height = (int(float(row[side])) for side in ("width", "height"))
    except UNREADABLE:
        return None
    return (width, height) if width > 0 and height > 0 and tool != STORED_SIZES else None


def _licence(row: Row, licences: Mapping[str, str]) -> str:
    """The licence of a picture; that of the file if it has one alone and the picture names none."""
    own = licences.get(_key(row.get("license")), "")
    return own or (next(iter(licences.values())) if len(licences) == 1 and "license" not in row else "")


def _sample(row: Row, size: tuple[int, int] | None) -> Sample | None:
    """The numbers of a bbox with an area, for the statistics of its file."""
    try:
        x, y, width, height = (float(value) for value in row["bbox"])
        return Sample((x, y, width, height), size, _around(row.get("segmentation"))) if width and height else None
    except UNREADABLE:
        return None


def _around(segmentation: object) -> Box | None:
    """The box around rings of numbers; None for run lengths, or if there are none."""
    rings = [ring for ring in segmentation if ring] if isinstance(segmentation, list) else []
    if not rings or not all(isinstance(ring, list) for ring in rings):
        return None
    across, down = ([float(value) for ring in rings for value in ring[axis::2]] for axis in (0, 1))
    return min(across), min(down), max(across), max(down)


def _schema(count: int) -> KeypointSchema:
    """Of keypoints without names: COCO's person if they are as many as his."""
    names = [f"point {number + 1}" for number in range(count)]
    return PERSON if count == len(PERSON.names) else keypoint_schema({"keypoints": names})


def _title(paths: Sequence[Path]) -> str:
    if any(path.name == ROBOFLOW for path in paths):
        return "Roboflow COCO"
    return "LVIS" if any(path.name.startswith("lvis_") for path in paths) else "COCO"


def _readme_licence(root: Path) -> str:
    """The licence that Roboflow writes into its README."""
    for path in sorted(root.glob("README*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        _, found, rest = text.partition("License:")
        if found and rest.strip():
            return rest.strip().splitlines()[0]
    return ""


FORMAT = Format(
    "coco",
    "COCO",
    "any JSON with images, annotations and categories, one file or several for each split; pictures beside it, in "
    "images or in a folder of the split's name",
    "boxes, outlines, keypoints, captions, splits, licences, LVIS's absent and partly marked categories",
    "crowds, holes of outlines, stuff and panoptic files, attributes",
    recognises,
    open_coco,
)
