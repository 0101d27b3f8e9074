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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from vilam.data.readers.coco_files import (
    NAMED,
    ROBOFLOW,
    CocoFile,
    coco_paths,
    find_files,
    is_coco,
    named_files,
    rows_of,
)
from vilam.data.readers.coco_numbers import Sample, fault_of, sample_of
from vilam.data.readers.coco_pictures import (
    Facts,
    Picture,
    add_annotation,
    add_image,
    is_caption,
    item_of,
    key_of,
    licence_of,
    name_of,
    size_of,
)
from vilam.data.readers.coco_rows import is_crowd, keypoint_schema, schema_of
from vilam.data.readers.coco_store import CocoStore
from vilam.data.readers.dividing import USUAL, usual
from vilam.data.readers.formats import CLEAR, LIKELY, Format, Found
from vilam.data.readers.items import Head, Item, LazyItems, Listing, source_of
from vilam.data.readers.paths import Pictures, under
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
SAMPLED = 2000
"""Boxes of a file whose numbers are looked at, spread over the file."""


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
    gathered.find_pictures()
    if reader.files is None:
        gathered.leave_out_copies()
    return source_of(gathered.listing(), recipe)


class _Gathered:
    """The pictures of all files of a data set, each once in a split."""

    def __init__(self, root: Path, images: Sequence[str], files: Sequence[CocoFile]) -> None:
        self.root, self.files, self.images = root, files, [root / folder for folder in images]
        self.found, self.store = Pictures(root), CocoStore()
        self.problems: list[Problem] = []
        self.missing: list[str] = []
        self.beside: set[tuple[Path, Path]] = set()
        self.facts = [self._read(number, file) for number, file in enumerate(files)]
        self.store.complete()

    def _read(self, number: int, file: CocoFile) -> Facts:
        """Keep the rows of a file."""
        facts = Facts(file)
        for part in rows_of(file.path):
            if isinstance(part, Problem):
                self.problems.append(replace(part, split=file.split))
            elif part.name == "images":
                facts.num_images += 1
                self.store.add("images", number, key_of(part.value["id"]), part.text)
            elif part.name == "annotations":
                facts.count(part.value)
                self.store.add("annotations", number, key_of(part.value["image_id"]), part.text)
            else:
                facts.tell(part)
        return facts

    def find_pictures(self) -> None:
        """Find the pictures of all files; if some have objects, the pictures of files without are not labelled.

        Raises VilamError if no picture is there, or if boxes are not COCO's.
        """
        samples = []
        have_places = any(facts.has_places for facts in self.facts)
        for number, facts in enumerate(self.facts):
            facts.tell_crowds()
            if facts.is_of_labels and have_places:
                logger.info("%s: labels of whole pictures: left out", facts.file.path)
            elif facts.is_labelled:
                self._find_pictures(number)
                samples += self._samples(number)
        are_labelled = any(facts.used for facts in self.facts)
        for number, facts in enumerate(self.facts):
            if not facts.is_labelled and are_labelled:
                told = f"no annotations: its {facts.num_images} pictures are not labelled, and are left out"
                self.problems.append(Problem(facts.file.split, str(facts.file.path), told))
            elif not facts.is_labelled:
                self._find_pictures(number)
        if self.missing and not self.store.splits():
            raise VilamError(
                f"{self.root}: none of {len(self.missing)} pictures is there: {self.missing[0]} is missing: "
                "put the pictures beside the annotations or in images"
            )
        if len(self.files) > 1:
            _check(str(self.root), samples)

    def _find_pictures(self, number: int) -> None:
        """Find the pictures of a file; two that have the same id are left out."""
        facts = self.facts[number]
        file, folders, foreign = facts.file, self._folders(facts.file), self._foreign(facts.file)
        twice: dict[str, str] = {}
        for image, key, row in self.store.images(number):
            location = f"{file.path}: image {row['id']}"
            listed = [str(row[name]) for name in PICTURE_NAMES if row.get(name)]
            path = next((one for name in listed if (one := self.found.find(name, folders, foreign))), None)
            known = self.store.path_at(number, key)
            if path is None:
                told = f"image file {listed[0]} not found" if listed else "it has no file_name"
                self.problems.append(Problem(file.split, location, told))
                self.missing += listed[:1]
                self.store.set_place(number, key, image, None)
            elif key in twice or known not in (None, path):
                first = twice.setdefault(key, known.name if known else "")
                told = f"{path.name} and {first} have the same id: whose annotations are they?"
                self.problems.append(Problem(file.split, location, told))
                if known is not None:
                    self.store.leave_out(file.split, known)
            else:
                licence = licence_of(row, facts.licences)
                self.store.set_place(number, key, image, self.store.number_of(file.split, path, licence))
        if not facts.num_images:
            for other, before in enumerate(self.facts[:number]):
                if before.file.split == file.split:
                    self.store.borrow_places(number, other)
        for row in self.store.without_image(number):
            told = f"its image {row['image_id']} is not in the file"
            self.problems.append(Problem(file.split, f"{file.path}: annotation {row.get('id')}", told))

    def _samples(self, number: int) -> list[Sample]:
        """Numbers of a file's boxes; raises VilamError if they are not COCO's."""
        facts = self.facts[number]
        step = -(-facts.num_annotations // SAMPLED)
        rows = ((row, image) for row, image in self.store.annotations(number, step) if not is_caption(row))
        sizes = ((row, size_of(image, facts.tool) if image else None) for row, image in rows if not is_crowd(row))
        samples = list(filter(None, (sample_of(row, size) for row, size in sizes)))
        _check(str(facts.file.path), samples)
        return samples if step == 1 else []

    def leave_out_copies(self) -> None:
        """Leave out splits of other names that have nothing but pictures of train, val and test."""
        for split in self.store.splits():
            if split not in (*USUAL, ALL) and self.store.are_all_in(split, USUAL):
                told = "all pictures of %s are in train, val or test: it is left out; name its file to read it"
                logger.warning(told, split)
                self.store.leave_out(split)

    def listing(self) -> Listing:
        """All pictures, those of an undivided file, such as trainval, only if no other file has them in a split.

        Raises VilamError if there are no objects.
        """
        categories = self._categories()
        if not categories and any(facts.has_captions for facts in self.facts):
            raise VilamError(f"{self.root}: captions alone, no objects: put instances_*.json beside them")
        if doubles := self.store.leave_out_doubles(ALL):
            logger.info("%d pictures of files without a split are in files with one, and are read there", doubles)
        numbers = self.store.numbers()
        renamed = {ALL: "train"} if {*self.store.splits()} - {ALL, "train"} else {}

        def heads() -> Iterator[Head]:
            for split, path, licence in self.store.pictures():
                yield Head(renamed.get(split, split), under(self.root, path), licence)

        def item(number: int) -> Item:
            picture = self._picture(number)
            picture.split = renamed.get(picture.split, picture.split)
            return item_of(self.root, picture, list(categories))

        items = LazyItems(numbers, item, heads)
        return Listing(items, list(categories), self._schemas(categories), self.problems, renamed=self.found.renamed)

    def _picture(self, number: int) -> Picture:
        """A picture with all that the files tell of it."""
        split, path, licence, places = self.store.picture(number)
        picture = Picture(split, path, licence)
        for place in places:
            facts = self.facts[place.file]
            if place.image:
                add_image(picture, place.image, facts)
            for row in place.annotations:
                add_annotation(picture, row, facts)
        self._tell_beside(picture)
        return picture

    def _tell_beside(self, picture: Picture) -> None:
        """Say it once if two files have different objects of a picture."""
        files = dict.fromkeys(file.path for _, _, file in picture.objects)
        pair = tuple(islice(files, 2))
        if len(pair) == 2 and pair not in self.beside:
            self.beside.add(pair)
            told = "%s: other objects of pictures of %s, such as %s: all are read: remove an older version"
            logger.warning(told, pair[1], pair[0], picture.path.name)

    def _categories(self) -> dict[str, Row]:
        """The categories of all files by name, those with keypoints first; Roboflow's root only if it has objects."""
        found: dict[str, Row] = {}
        for row in chain.from_iterable(facts.categories for facts in self.facts):
            known = found.setdefault(name_of(row), row)
            if row.get("keypoints") and not known.get("keypoints"):
                found[name_of(row)] = row
        roots = {name for facts in self.facts for name in _roots(facts.categories)}
        used = {name for facts in self.facts for key in facts.used for name in facts.names.get(key, ())}
        return {name: row for name, row in found.items() if name in used or name not in roots}

    def _schemas(self, categories: Mapping[str, Row]) -> dict[str, KeypointSchema]:
        """The schema of each category that has keypoints; of as many points as there are if no file tells it."""
        found: dict[str, KeypointSchema] = {}
        for facts in self.facts:
            for key, count in facts.keypoints.items():
                for name in facts.names.get(key, ()):
                    found.setdefault(name, schema_of(count))
        for name, row in categories.items():
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
        """Whether a folder is of another split than a file's; none is that for a list of parts of others (minival)."""
        if file.split not in USUAL:
            return lambda folder: False
        others = {other.split for other in self.files} & {*USUAL} - {file.split}
        tags = {other.tag.lower() for other in self.files if other.split != file.split} - {""}
        return lambda folder: folder.lower() in tags or usual(folder) in others


def _check(where: str, samples: Sequence[Sample]) -> None:
    fault = fault_of(samples)
    if fault is not None:
        raise VilamError(f"{where}: {fault}")


def _roots(categories: Sequence[Row]) -> set[str]:
    """Roboflow's category for the project: the parent of the others, which has no parent."""
    parents = {tidy(str(row.get("supercategory"))) for row in categories}
    return {
        name_of(row)
        for row in categories
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
