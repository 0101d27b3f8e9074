"""KITTI's object detection: training/image_2 and training/label_2; also images and labels as NVIDIA TAO has them.

A line is the category, truncation, occlusion, angle, box (left, top, right, bottom in pixels, counted from 0), and
seven numbers in space; a sixteenth is a score. ``DontCare`` is no object: it marks a place where objects may be that
nobody marked, so that no category is known to be absent. Pictures without a label file, such as those of testing/, are
no part of the set. ImageSets/*.txt divides the set where it is there, else folders that are named by split do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice, takewhile
from pathlib import Path

from vilam.data.readers.dividing import usual
from vilam.data.readers.formats import CLEAR, LIKELY, Format, Found
from vilam.data.readers.items import Item, LazyItems, Listing, Shape, source_of
from vilam.data.readers.kept import KeptList
from vilam.data.readers.paths import is_image, lines_of, stem_path, under
from vilam.data.readers.source import ALL, Problem, Source
from vilam.data.recipes import FormatReader, Recipe
from vilam.errors import VilamError

FOLDERS = {"label_2": "image_2", "labels": "images"}
"""The folder of pictures beside each folder of labels; the first pair is KITTI's own."""
NUMBERS = (14, 15)
"""How many follow the category: without and with a score."""
BOX = slice(3, 7)
"""The numbers of the box."""
DONT_CARE = "dontcare"
LISTS = ("train", "val", "test")


def recognises(root: Path) -> Found | None:
    """A folder of labels whose first lines have KITTI's columns, beside its folder of pictures."""
    for labels, _ in _folders(root):
        first = next(iter(sorted(labels.rglob("*.txt"))), None)
        if first is not None and any(map(_is_kitti, islice(_lines(first), 1))):
            sureness = CLEAR if labels.name == "label_2" else LIKELY
            return Found("KITTI", FormatReader(kind="kitti"), root, sureness)
    return None


def open_kitti(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read the labels; the pictures are read one by one as the rows are iterated."""
    names: dict[str, None] = {}
    found = KeptList[tuple[Path, Path, str]]()
    listed = _listed(root)
    for labels, images in _folders(root):
        pictures = {stem_path(image, ""): image for image in sorted(images.rglob("*")) if is_image(image)}
        for file in sorted(labels.rglob("*.txt")):
            stem = images / file.relative_to(labels).with_suffix("")
            found.append(
                (file, pictures.get(stem, stem.with_suffix(".png")), _split(root, labels.parent, stem.name, listed))
            )
            names.update((_parts(line)[0], None) for line in _lines(file) if _is_kitti(line))
    categories = [name for name in names if name.lower() != DONT_CARE]

    def item(entry: tuple[Path, Path, str]) -> Item:
        file, image, split = entry
        own = partial(_unmarked, file, categories)
        return Item(image, under(root, image), split, str(file), partial(_shapes, file), unmarked=own)

    return source_of(Listing(LazyItems(found, item), categories), recipe, reader.together, reader.window)


def _folders(root: Path) -> list[tuple[Path, Path]]:
    """Folders of labels with their folders of pictures, in the root or one below it."""
    pairs = [(place / labels, place / images) for place in _places(root) for labels, images in FOLDERS.items()]
    return [(labels, images) for labels, images in pairs if labels.is_dir() and images.is_dir()]


def _places(root: Path) -> list[Path]:
    return [root, *sorted(path for path in root.iterdir() if path.is_dir())] if root.is_dir() else []


def _lines(file: Path) -> Iterable[str]:
    try:
        return lines_of(file)
    except VilamError:
        return []


def _is_kitti(line: str) -> bool:
    category, numbers = _parts(line)
    return bool(category) and len(numbers) in NUMBERS


def _parts(line: str) -> tuple[str, list[float]]:
    """The category, which may be several words, and the numbers behind it."""
    words = line.split()
    count = next((place for place, word in enumerate(reversed(words)) if not _is_number(word)), len(words))
    first = len(words) - count
    return " ".join(words[:first]), [float(word) for word in words[first:]]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed(root: Path) -> dict[tuple[Path, str], str]:
    """The split of each picture that a list names, by the list's folder and the picture's name without suffix."""
    lists = [(place / "ImageSets" / f"{split}.txt", split) for place in _places(root) for split in LISTS]
    return {(file.parent.parent, stem): split for file, split in lists if file.is_file() for stem in lines_of(file)}


def _split(root: Path, place: Path, stem: str, listed: Mapping[tuple[Path, str], str]) -> str:
    own = listed.get((place, stem)) or listed.get((root, stem))
    return own or (usual(place.name) if place != root else None) or ALL


def _unmarked(file: Path, categories: list[str]) -> tuple[str, ...]:
    cares = (_parts(line)[0].lower() for line in _lines(file))
    return tuple(categories) if DONT_CARE in cares else ()


def _shapes(file: Path) -> list[Shape | Problem]:
    found: list[Shape | Problem] = []
    for number, line in enumerate(lines_of(file, keep_empty=True), start=1):
        category, numbers = _parts(line)
        if not line.strip() or category.lower() == DONT_CARE:
            continue
        if not _is_kitti(line):
            message = f"{len(line.split())} columns: expected a category and 14 or 15 numbers"
            words = takewhile(lambda word: not _is_number(word), line.split())
            found.append(Problem("", f"line {number}", message, category=" ".join(words)))
            continue
        left, top, right, bottom = numbers[BOX]
        found.append(Shape(category, (left, top, right, bottom), location=f"line {number}"))
    return found


FORMAT = Format(
    "kitti",
    "KITTI",
    "training/image_2/*.png and training/label_2/*.txt (or images and labels), ImageSets/{train,val,test}.txt",
    "boxes, places that nobody marked (DontCare), lists of splits",
    "truncation, occlusion, angles, sizes and places in space, scores",
    recognises,
    open_kitti,
)
