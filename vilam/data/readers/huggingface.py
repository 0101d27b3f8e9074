"""Hugging Face data sets with objects: ImageFolder with metadata.jsonl, .csv or .parquet, and Parquet with pictures.

``objects`` holds lists of boxes and categories, or a list of objects with a box and a category each; the columns may
also stand alone. A category is a name, or a number whose name the features tell: in the Parquet file's schema, in
dataset_info.json or in README.md. Boxes are x, y, width, height in pixels as in the documentation, unless all boxes
together show that they are corners, centres or fractions (box_order.py). A picture of a metadata file is named from its
folder, in ``file_name``. Splits are those of folders or of the names of files.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image

from vilam.data.orientation import UPRIGHT, orientation
from vilam.data.readers.box_order import box_order
from vilam.data.readers.dividing import split_of_folders, usual
from vilam.data.readers.formats import CLEAR, LIKELY, Format, Found
from vilam.data.readers.huggingface_files import (
    BOXES,
    IMAGES,
    METADATA,
    OBJECTS,
    Row,
    class_names,
    files,
    has_boxes,
    has_pictures,
    picture,
    rows,
)
from vilam.data.readers.items import Item, LazyItems, Listing, Shape, source_of
from vilam.data.readers.kept import KeptList
from vilam.data.readers.paths import Pictures, files_of, literal, under
from vilam.data.readers.source import ALL, MALFORMED, OBJECT, Problem, Source, wrong
from vilam.data.recipes import FormatReader, Recipe
from vilam.errors import VilamError
from vilam.geometry.boxes import TO_XYXY, Box

NAMES_OF_FILES = ("file_name", "image_file_name", *IMAGES)
CATEGORIES = ("category", "categories", "category_name", "class_name", "label", "labels", "class", "classes", "name")
NUMBERS = ("category_id", "class_id", "label_id")
CROWDS = ("is_crowd", "iscrowd")
EXPRESSIONS = ("caption", "description", "expression", "phrase")
MEASURED = 200
"""Pictures whose sides are compared with their boxes, at most; they are opened if no column tells the sides."""


@dataclass(frozen=True, slots=True)
class _Object:
    """Four numbers in the file's order, a category or its number, and whether it is a crowd."""

    box: Box
    category: str | int
    is_crowd: bool = False
    texts: tuple[str, ...] = ()


_Read = tuple[Item, list[_Object]]
"""A picture and its objects, as a row has them."""


def recognises(root: Path) -> Found | None:
    """A metadata or Parquet file whose rows have boxes, in a folder or up to two below it, or such a file itself."""
    is_own = root.is_file() and (root.name in METADATA or root.suffix == ".parquet")
    own = next(filter(has_boxes, [root] if is_own else files(root)), None)
    if own is None:
        return None
    named = {ALL: literal(root.name)} if is_own else None
    folder = root.parent if is_own else root
    if own.name in METADATA:
        return Found("Hugging Face ImageFolder", FormatReader(kind="huggingface", files=named), folder, CLEAR)
    return Found("Hugging Face Parquet", FormatReader(kind="huggingface", files=named), folder, LIKELY)


def open_huggingface(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read the rows without their pictures, which are read one by one as the rows are iterated.

    Raises VilamError if the boxes are in no known order, or categories are numbers that no file names.
    """
    kept = KeptList[_Read]()
    problems: list[Problem] = []
    pictures = Pictures(root)
    own = files_of(root, reader, filter(has_boxes, files(root)))
    for split, file in own:
        folders = [file.parent, *(root / folder for folder in reader.images), root]
        find = None if has_pictures(file) else partial(pictures.first, folders=folders)
        for number, row in enumerate(rows(file)):
            try:
                kept.append((_item(root, split, file, number, row, find), list(_objects(row))))
            except MALFORMED as error:
                problems.append(Problem(split, f"{file}: row {number + 1}", f"cannot be read: {wrong(error)}"))
    whole = 1.0 if _are_fractions(one.box for _, found in kept for one in found) else None
    measured = list(_measured(kept, whole))
    convert = TO_XYXY[box_order(measured, str(root)) if measured else "xywh"]
    names = class_names(root, (file for _, file in own))
    categories = dict.fromkeys(_category(one, names, root) for _, found in kept for one in found)
    twice = _repeated(kept)

    def item(number: int) -> Item:
        item, found = kept[number]
        named = [(one, _category(one, names, root)) for one in found]
        shapes = [
            Shape(category, convert(one.box), expressions=one.texts, location=f"object {place}")
            for place, (one, category) in enumerate(named, start=1)
            if not one.is_crowd
        ]
        crowds = tuple(category for one, category in named if one.is_crowd)
        name = f"{number:06d}/{item.name}" if (item.split, item.name) in twice else item.name
        return replace(item, name=name, shapes=shapes, unmarked=crowds, whole=whole)

    items = LazyItems(range(len(kept)), item)
    listing = Listing(items, list(categories), problems=problems, renamed=pictures.renamed)
    return source_of(listing, recipe, reader.together, reader.window)


def _objects(row: Row) -> Iterator[_Object]:
    """The objects of a row, of `OBJECT` if there is no column of categories; raises ValueError if lists do not fit."""
    held = next((row[name] for name in OBJECTS if row.get(name) is not None), None)
    if held is None:
        held = row if any(row.get(name) for name in BOXES) else {}
    if isinstance(held, str):
        held = json.loads(held)
    columns: set[str] = set()
    if isinstance(held, dict):
        columns = {name for name, own in held.items() if isinstance(own, list)}
        held = _transposed(held)
    for one in held:
        x, y, z, t = (float(value) for value in next((one[name] for name in BOXES if name in one), ()))
        known = [name for name in (*CATEGORIES, *NUMBERS) if one.get(name) is not None]
        chosen = next((name for name in known if isinstance(one[name], str)), next(iter(known), None))
        category = OBJECT if not {*CATEGORIES, *NUMBERS} & {*one, *columns} else one[chosen] if chosen else None
        if not isinstance(category, str | int):
            raise ValueError("a box without a category")
        is_crowd = any(one.get(name) in (1, True) for name in CROWDS)
        texts = tuple(one[name] for name in EXPRESSIONS if isinstance(one.get(name), str))
        yield _Object((x, y, z, t), category, is_crowd, texts)


def _transposed(columns: Row) -> list[Row]:
    """Lists by column as rows; columns of another length than the boxes are no columns of objects."""
    boxes = next((columns[name] for name in BOXES if name in columns), None) or []
    fitting = {name: own for name, own in columns.items() if isinstance(own, list) and len(own) == len(boxes)}
    return [{name: own[number] for name, own in fitting.items()} for number in range(len(boxes))]


def _item(
    root: Path, split: str, file: Path, number: int, row: Row, find: Callable[[Sequence[str]], Path] | None
) -> Item:
    """The picture of a row; ``find`` is None if the Parquet file holds it."""
    location = f"{file}: row {number + 1}"
    captions = tuple(row[name] for name in ("caption", "text") if isinstance(row.get(name), str) and row[name])
    value = next((row[name] for name in NAMES_OF_FILES if row.get(name)), None)
    named = value.get("path") if isinstance(value, dict) else value
    if find is None:
        name = str(named or f"{under(root, file).removesuffix('.parquet')}/{number:06d}")
        own = _split_of_file(root, file) if split == ALL else split
        return Item(partial(picture, file, number), name, own, location, size=_told_size(row), captions=captions)
    if not isinstance(named, str):
        raise ValueError("no file_name")
    path = find([named])
    own = split_of_folders(under(root, path)) if split == ALL else split
    own = _split_of_file(root, file) if own == ALL else own
    return Item(path, under(root, path), own, location, size=_told_size(row), captions=captions)


def _told_size(row: Row) -> tuple[int, int] | None:
    """Width and height that a row's columns tell; None if they do not."""
    width, height = (str(row.get(name)) for name in ("width", "height"))
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None


def _split_of_file(root: Path, file: Path) -> str:
    """The split in the name of a file, such as train-00000-of-00001.parquet, or in those of its folders."""
    words = re.split(r"[-_.]", file.stem)
    return next(filter(None, map(usual, words)), split_of_folders(under(root, file)))


def _are_fractions(boxes: Iterable[Box]) -> bool:
    largest, is_fraction = 0.0, False
    for box in boxes:
        largest, is_fraction = max(largest, *box), is_fraction or any(0 < value < 1 for value in box)
    return is_fraction and largest <= 1 + 1e-6


def _measured(kept: KeptList[_Read], whole: float | None) -> Iterator[tuple[Box, tuple[float, float]]]:
    """Boxes with the sides of their pictures, spread over the set."""
    filled = [number for number, (_, found) in enumerate(kept) if found]
    for item, found in map(kept.__getitem__, filled[:: max(1, len(filled) // MEASURED)]):
        size = (1.0, 1.0) if whole else _size(item)
        if size is not None:
            yield from ((one.box, size) for one in found)


def _size(item: Item) -> tuple[int, int] | None:
    """Width and height in which boxes are; None if they are not told, and the picture is turned or cannot be opened."""
    if item.size is not None:
        return item.size
    try:
        with Image.open(item.image if isinstance(item.image, Path) else BytesIO(item.image())) as image:
            return image.size if orientation(image) == UPRIGHT else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _category(one: _Object, names: Sequence[str], root: Path) -> str:
    if isinstance(one.category, str):
        return one.category
    number = int(one.category)
    if not 0 <= number < len(names):
        raise VilamError(
            f"{root}: category {number} has no name: write names instead of numbers, or put the features with the "
            "names of the ClassLabel into README.md or dataset_info.json"
        )
    return names[number]


def _repeated(kept: KeptList[_Read]) -> set[tuple[str, str]]:
    """Splits and names that several pictures of Parquet files have."""
    counts = Counter((item.split, item.name) for item, _ in kept if not isinstance(item.image, Path))
    return {name for name, count in counts.items() if count > 1}


FORMAT = Format(
    "huggingface",
    "Hugging Face ImageFolder and Parquet",
    "SPLIT/metadata.jsonl (or .csv, .parquet) and pictures, or data/SPLIT-*.parquet with pictures; objects in each row",
    "boxes, names of classes from the features, captions, splits",
    "outlines, areas, other columns",
    recognises,
    open_huggingface,
)
