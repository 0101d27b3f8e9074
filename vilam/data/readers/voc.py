"""Pascal VOC: an XML file for each image, beside it or in a folder of its own; one set, or several such as two years.

An image is the picture with the stem of its XML file, in JPEGImages, images or the like beside the folder of the XML
files, or beside the file itself (labelImg, Roboflow); a picture without XML is not labelled and is no record.

VOC counts pixels from 1, and its boxes include their last pixel: a box becomes (xmin - 1, ymin - 1, xmax, ymax). Label
Studio, Datumaro, CVAT and LabelMe's web tool count from 0; so does a set in which a side is 0. Which of them is said in
the log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from vilam.data.kinds import MISSING
from vilam.data.readers.dividing import split_of_folders
from vilam.data.readers.formats import CLEAR, Format, Found
from vilam.data.readers.items import Item, Listing, Shape, source_of
from vilam.data.readers.kept import KeptList
from vilam.data.readers.paths import Pictures, folded, is_image, under
from vilam.data.readers.source import ALL, Problem, Source
from vilam.data.readers.voc_files import VocFile, VocObject, head_of, read_voc, xml_files
from vilam.data.readers.voc_lists import LISTS, read_lists
from vilam.data.recipes import Recipe, VocReader
from vilam.errors import VilamError

logger = logging.getLogger(__name__)

LOOKED_AT = 10
"""XML files of a folder that are looked at to recognise the format."""
PICTURES = ("jpegimages", "images", "image", "imgs", "img", "pictures", "photos", "data")
"""Usual names of the folder of the pictures, the most usual first."""
NO_PICTURES = ("seg", "mask", "label", "annotation", "imagesets")
"""What the name of a folder that holds no photographs contains."""
ENOUGH = 3
"""Boxes from which their numbers tell something."""


def recognises(root: Path) -> Found | None:
    """XML files whose root is ``annotation`` in a folder or below it."""
    for number, path in enumerate(xml_files(root) if root.is_dir() else ()):
        head = head_of(path)
        if b"<annotation>" in head or b"<annotation " in head:
            title = "Roboflow Pascal VOC" if b"roboflow" in head else "Pascal VOC"
            return Found(title, VocReader(kind="voc"), root, CLEAR)
        if number >= LOOKED_AT:
            break
    return None


def open_voc(root: Path, recipe: Recipe) -> Source:
    """Read all XML files below a root; the pictures are read one by one as the rows are iterated.

    Raises VilamError if there are none, or if the boxes are shares of the picture.
    """
    problems: list[Problem] = []
    files = KeptList(one for path in xml_files(root) if (one := read_voc(path, problems)))
    if not len(files):
        first = f" ({problems[0].location}: {problems[0].message})" if problems else ""
        raise VilamError(f"{root}: no XML file of Pascal VOC in it{first}: check prepare.root")
    broken = [Path(one.location) for one in problems]
    splits = _splits(root, [*(one.path for one in files), *broken], problems)
    pictures = _Pictures(root)
    items = KeptList[Item]()
    for folder, own in _by_set(root, files).items():
        from_zero = _counts_from_zero(folder, map(files.__getitem__, own))
        for one in map(files.__getitem__, own):
            split = splits.get(one.path)
            picture = pictures.find(one) if split else None
            if split and picture:
                shapes = partial(_shapes, one.objects, from_zero)
                items.append(Item(picture, under(root, picture), split, str(one.path), shapes, size=one.size))
            elif split:
                message = f"its image {one.pictures[0] if one.pictures else one.path.stem} is not found"
                problems.append(Problem(split, str(one.path), message, MISSING))
    names = {each.category for one in files if one.path in splits for each in one.objects if each.category}
    return source_of(Listing(items, sorted(names), problems=problems, renamed=pictures.renamed), recipe)


def _annotations_folder(root: Path, path: Path) -> Path:
    """The folder of a file's set in which its path begins: Annotations, or the one in which it lies."""
    found = next((one for one in path.parents if one.name.lower().startswith("annotation")), path.parent)
    return found if found.is_relative_to(root) else path.parent


def _by_set(root: Path, files: Iterable[VocFile]) -> dict[Path, list[int]]:
    """The numbers of each set's files: of each folder with Annotations, and of all other folders together."""
    sets: dict[Path, list[int]] = {}
    for number, one in enumerate(files):
        folder = _annotations_folder(root, one.path)
        sets.setdefault(folder if folder.name.lower().startswith("annotation") else root, []).append(number)
    return sets


def _splits(root: Path, paths: Sequence[Path], problems: list[Problem]) -> dict[Path, str]:
    """The official split of each file; none for files that lists leave out."""
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(_annotations_folder(root, path), []).append(path)
    splits: dict[Path, str] = {}
    for folder, own in folders.items():
        places = [folder.parent, folder] if folder != root else [folder]
        found = next((one for place in places if (one := read_lists(place, folder, own))), None)
        if found is None:
            splits.update({path: split_of_folders(under(root, path)) for path in own})
        else:
            splits.update(found.splits)
            problems += found.problems
    divided = {*splits.values()} - {ALL, "train"}
    return {path: "train" if split == ALL and divided else split for path, split in splits.items()}


class _Pictures:
    """Finds the picture of each XML file; each folder is listed once."""

    def __init__(self, root: Path) -> None:
        self._root, self._anywhere = root, Pictures(root)
        self.renamed = self._anywhere.renamed
        self._stems: dict[Path, dict[str, list[Path]]] = {}

    def find(self, one: VocFile) -> Path | None:
        """The picture with the stem of a file, in the folder of its set or beside it; else the one that it names."""
        folders = list(self._folders(one.path))
        named = [Path(name.replace("\\", "/")).name for name in one.pictures]
        for stem in dict.fromkeys([one.path.stem, *(Path(name).stem for name in named)]):
            for folder in folders:
                if found := self._listed(folder).get(folded(stem), []):
                    picture = next((path for path in found if path.name in named), found[0])
                    self.renamed.update((name, picture) for name in named[:1] if picture.name not in named)
                    return picture
        return next((path for name in one.pictures if (path := self._anywhere.find(name, folders))), None)

    def _folders(self, path: Path) -> Iterator[Path]:
        annotations = _annotations_folder(self._root, path)
        if annotations != path.parent or annotations.name.lower().startswith("annotation"):
            below = path.parent.relative_to(annotations)
            for folder in self._beside(annotations):
                yield from (folder / below, folder)
        yield path.parent

    def _beside(self, annotations: Path) -> list[Path]:
        """Folders beside that of the annotations, those with a usual name first."""
        folders = [path for path in sorted(annotations.parent.iterdir()) if path.is_dir() and path != annotations]
        kept = [path for path in folders if not any(word in path.name.lower() for word in NO_PICTURES)]
        usual = {name: number for number, name in enumerate(PICTURES)}
        return sorted(kept, key=lambda path: usual.get(path.name.lower(), len(usual)))

    def _listed(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._stems:
            self._stems[folder] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if is_image(path):
                    self._stems[folder].setdefault(folded(path.stem), []).append(path)
        return self._stems[folder]


def _counts_from_zero(folder: Path, files: Iterable[VocFile]) -> bool:
    """Whether the pixels of a set are counted from 0; raises VilamError if its boxes are shares of the picture."""
    from_zero, count, largest = False, 0, 0.0
    for one in files:
        boxes = [each.corners for each in one.objects if each.corners]
        from_zero |= one.from_zero or any(min(box) < 1 for box in boxes)
        count, largest = count + len(boxes), max(largest, *map(max, boxes), 0.0)
    if count >= ENOUGH and largest <= 1:
        raise VilamError(f"{folder}: bndbox holds shares of the picture (0 to 1), not pixels: convert them to pixels")
    logger.info("%s: pixels are counted from %d", folder, 0 if from_zero else 1)
    return from_zero


def _shapes(objects: Sequence[VocObject], from_zero: bool) -> list[Shape | Problem]:
    """The objects in pixels, counted from 0, without the last pixel."""
    first = 0.0 if from_zero else 1.0
    found: list[Shape | Problem] = []
    for one in objects:
        if one.fault:
            found.append(Problem("", one.location, one.fault, category=one.category))
            continue
        box = None
        if one.corners is not None:
            x1, y1, x2, y2 = one.corners
            box = (x1 - first, y1 - first, x2, y2)
        ring = tuple((x - first / 2, y - first / 2) for x, y in one.ring)
        found.append(Shape(one.category, box, (ring,) if ring else (), location=one.location))
    return found


def _open(root: Path, recipe: Recipe, reader: VocReader) -> Source:
    return open_voc(root, recipe)


FORMAT = Format(
    "voc",
    "Pascal VOC",
    f"XML files in Annotations and pictures in JPEGImages, or beside each other; {LISTS}/Main/*.txt, or train, valid "
    "and test as folders",
    "boxes, outlines in polygon, turned boxes as outlines, splits",
    "parts, poses, difficult and truncated, masks of SegmentationObject",
    recognises,
    _open,
)
