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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vilam.data.readers.coco_files import (
    NAMED,
    ROBOFLOW,
    CocoFile,
    Content,
    coco_paths,
    find_files,
    is_coco,
    named_files,
    read_file,
)
from vilam.data.readers.coco_numbers import Sample, fault_of, sample_of
from vilam.data.readers.coco_pictures import (
    Picture,
    add_known,
    add_lvis,
    item_of,
    key_of,
    licence_of,
    name_of,
    names_of,
    size_of,
)
from vilam.data.readers.coco_rows import (
    is_crowd,
    keypoint_schema,
    schema_of,
)
from vilam.data.readers.dividing import USUAL, usual
from vilam.data.readers.formats import CLEAR, LIKELY, Format, Found
from vilam.data.readers.items import Listing, source_of
from vilam.data.readers.paths import Pictures
from vilam.data.readers.source import ALL, MALFORMED, Problem, Source, tidy
from vilam.data.recipes import CocoReader, Recipe
from vilam.data.records import KeypointSchema
from vilam.errors import VilamError

logger = logging.getLogger(__name__)

Row = dict[str, Any]

PICTURE_NAMES = ("file_name", "coco_url", "path")
"""What tells a picture's file, in the order in which it is tried."""
OUTSIDE = ("annotations", "labels")
"""Names of a folder that holds annotations alone: pictures are beside it."""
SAMPLED = 20_000
"""Boxes of a file whose numbers are looked at."""


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
    sure = any(path.name.startswith(NAMED) for path in paths)
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
    return source_of(gathered.listing(named=reader.files is not None), recipe)


class _Gathered:
    """The pictures of all files of a data set, each once in a split."""

    def __init__(self, root: Path, images: Sequence[str], files: Sequence[CocoFile]) -> None:
        self.root, self.files, self.images = root, files, [root / folder for folder in images]
        self.found = Pictures(root)
        self.pictures: dict[tuple[str, Path], Picture] = {}
        self.ids: dict[tuple[str, str], Picture] = {}
        self.categories: dict[str, Row] = {}
        self.roots: set[str] = set()
        self.samples: list[Sample] = []
        self.problems: list[Problem] = []
        self.missing: list[str] = []
        self.beside: Counter[tuple[Path, Path]] = Counter()

    def add(self, file: CocoFile, content: Content) -> None:
        """Take the rows of a file; raises VilamError if its boxes are not COCO's."""
        self.problems += [Problem(file.split, one.location, one.message) for one in content.problems]
        names = names_of(content.categories)
        for row in content.categories:
            name = name_of(row)
            known = self.categories.setdefault(name, row)
            if row.get("keypoints") and not known.get("keypoints"):
                self.categories[name] = row
        self.roots |= _roots(content)
        pictures = dict(self._pictures(file, content, names))
        samples: list[Sample] = []
        for row in content.annotations:
            picture = self._annotation(file, row, names, pictures)
            if picture and len(samples) < SAMPLED and (sample := sample_of(row, picture.size)):
                samples.append(sample)
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
    ) -> Iterator[tuple[str, Picture | None]]:
        """The picture of each id; None if it is not there, or two pictures have the id."""
        folders, foreign = self._folders(file), self._foreign(file)
        marked = frozenset(name for own in names.values() for name in own)
        licences = {key_of(one.get("id")): str(one.get("name") or one.get("url") or "") for one in content.licences}
        own: dict[str, Path] = {}
        for row in content.images:
            key, location = key_of(row["id"]), f"{file.path}: image {row['id']}"
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
                new = Picture(path, file.split, location, size_of(row, content.tool), licence_of(row, licences))
                picture = self.pictures.setdefault((file.split, path), new)
                picture.marked.append(marked)
                add_lvis(picture, row, names)
                self.ids[file.split, key] = picture
                yield key, picture

    def _annotation(
        self, file: CocoFile, row: Row, names: Mapping[str, set[str]], pictures: Mapping[str, Picture | None]
    ) -> Picture | None:
        """Give an annotation to its picture; returns the picture if it is one object of it, and new."""
        key, location = key_of(row["image_id"]), f"annotation {row.get('id')}"
        picture = pictures.get(key) or (self.ids.get((file.split, key)) if not pictures else None)
        if picture is None:
            if key not in pictures:
                told = f"its image {row['image_id']} is not in the file"
                self.problems.append(Problem(file.split, f"{file.path}: {location}", told))
            return None
        if "caption" in row and "bbox" not in row:
            picture.captions.append(str(row["caption"]))
            return None
        own = names.get(key_of(row.get("category_id")), set())
        if add_known(picture, row, own, file):
            return None
        if len(own) != 1:
            number = row.get("category_id")
            told = f"category id {number} is {' and '.join(sorted(own))}" if own else f"unknown category id {number}"
            picture.problems.append(Problem("", location, told))
            picture.partly |= own
            return None
        if picture.objects and (first := picture.objects[0][2]) is not file:
            self.beside[first.path, file.path] += 1
        picture.objects.append((next(iter(own)), row, file))
        return None if is_crowd(row) else picture

    def listing(self, named: bool) -> Listing:
        """All pictures; raises VilamError if there are none, or no objects. named: whether a recipe names the files."""
        if self.missing and not self.pictures:
            raise VilamError(
                f"{self.root}: none of {len(self.missing)} pictures is there: {self.missing[0]} is missing: "
                "put the pictures beside the annotations or in images"
            )
        used = {name for picture in self.pictures.values() for name, _, _ in picture.objects}
        if not self.categories and any(picture.captions for picture in self.pictures.values()):
            raise VilamError(f"{self.root}: captions alone, no objects: put instances_*.json beside them")
        if len(self.files) > 1:
            _check(str(self.root), self.samples)
        categories = [name for name in self.categories if name in used or name not in self.roots]
        for (first, other), count in self.beside.items():
            told = "%s: %d objects are of pictures of %s, and other than there: all are read: remove an older version"
            logger.warning(told, other, count, first)
        pictures = _without_doubles(self.pictures if named else _without_copies(self.pictures))
        held_out = {picture.split for picture in pictures} - {ALL, "train"}
        items = [item_of(self.root, picture, categories, bool(held_out)) for picture in pictures]
        return Listing(items, categories, self._schemas(), self.problems)

    def _schemas(self) -> dict[str, KeypointSchema]:
        """The schema of each category that has keypoints; of as many points as there are if no file tells it."""
        found: dict[str, KeypointSchema] = {}
        for picture in self.pictures.values():
            for name, row, _ in picture.objects:
                if isinstance(points := row.get("keypoints"), list) and len(points) % 3 == 0 and any(points):
                    found.setdefault(name, schema_of(len(points) // 3))
        for name, row in self.categories.items():
            if isinstance(row.get("keypoints"), list) and row["keypoints"]:
                try:
                    found[name] = keypoint_schema(row)
                except MALFORMED:
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


def _without_copies(pictures: Mapping[tuple[str, Path], Picture]) -> dict[tuple[str, Path], Picture]:
    """The pictures without splits of other names that have nothing but pictures of train, val and test."""
    usual_ones = {path for split, path in pictures if split in USUAL}
    others = {split for split, path in pictures if split not in (*USUAL, ALL) and path not in usual_ones}
    left_out = {split for split, _ in pictures} - others - {*USUAL, ALL}
    for split in sorted(left_out):
        logger.warning("all pictures of %s are in train, val or test: it is left out; name its file to read it", split)
    return {key: one for key, one in pictures.items() if key[0] not in left_out}


def _without_doubles(pictures: Mapping[tuple[str, Path], Picture]) -> list[Picture]:
    """The pictures without those of an undivided file, such as trainval, that another file has in a split."""
    divided = {path for split, path in pictures if split != ALL}
    doubles = [path for split, path in pictures if split == ALL and path in divided]
    if doubles:
        logger.info("%d pictures of files without a split are in files with one, and are read there", len(doubles))
    return [one for (split, path), one in pictures.items() if split != ALL or path not in divided]


def _roots(content: Content) -> set[str]:
    """Roboflow's category for the project: the parent of the others, which has no parent."""
    parents = {tidy(str(row.get("supercategory"))) for row in content.categories}
    return {
        name_of(row)
        for row in content.categories
        if str(row.get("supercategory")).lower() == "none" and name_of(row) in parents
    }


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
