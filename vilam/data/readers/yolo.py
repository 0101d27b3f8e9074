"""YOLO: a text file for each image with an object in each line; coordinates are fractions of the image's sides.

A line is ``class cx cy width height``, or ``class x1 y1 x2 y2 x3 y3 ...`` for an outline of three points or more, such
as the four corners of an oriented box. Where a file names ``kpt_shape: [K, 2 or 3]``, K keypoints follow the box. A
confidence behind every box of a file is left out.

One of three files says what the classes and the images are:

- ``data.yaml`` (Ultralytics, Roboflow, CVAT): ``names``, and for ``train``, ``val`` and ``test`` a folder, a text file
  of paths, or a list of these. Paths of another machine, and Roboflow's ``../train/images``, are found by their end; a
  split whose paths lead nowhere is read from the folders that have one of its usual names, such as ``Valid``.
- ``obj.data`` (Darknet, CVAT): the file of the names, and lists of paths, whose labels lie beside the images.
- ``classes.txt`` (labelImg, Label Studio), ``_darknet.labels`` (Roboflow), ``obj.names`` or the like, or a data.yaml
  that names no images (supervision): the names alone, beside the folders or in them; splits are folders.

The labels of ``.../images/x.jpg`` are ``.../labels/x.txt``, or lie beside the image; an image without labels has no
objects, but a split in which no image has labels is not labelled and is left out.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from vilam.config import parse_yaml
from vilam.data.kinds import MISSING, UNREADABLE
from vilam.data.readers.dividing import split_of_folders, usual
from vilam.data.readers.formats import CLEAR, LIKELY, POSSIBLE, Format, Found
from vilam.data.readers.items import Item, LazyItems, Listing, Shape, source_of
from vilam.data.readers.paths import find_by_end, head_of, images_below, is_image, lines_of, open_text, stem_path, under
from vilam.data.readers.source import ALL, IMAGE_SUFFIXES, Problem, Source, tidy
from vilam.data.recipes import Recipe, YoloReader
from vilam.data.records import KeypointSchema
from vilam.errors import VilamError
from vilam.geometry.boxes import cxcywh_to_xyxy

logger = logging.getLogger(__name__)

DATA_FILES = ("data.yaml", "data.yml", "dataset.yaml", "obj.data", "classes.txt")
"""Names of the file that names the classes, the most telling first."""
NAMES_FILES = ("classes.txt", "names.txt", "class_names.txt", "labels.txt", "predefined_classes.txt")
"""Text files that hold nothing but the names of the classes, beside those that end in `NAMES_ENDS`."""
NAMES_ENDS = (".names", ".labels")
YAML = (".yaml", ".yml")
LABELS = "labels"
FOLDERS = {"images": LABELS, "Images": "Labels", "IMAGES": "LABELS", "JPEGImages": LABELS}
"""The folder of the labels beside each folder of images."""
DEPTHS = ("*/", "*/*/", "*/*/*/")
"""Where files of names lie if there is none in the root."""
NUMBERS = re.compile(r"\d+(\s+-?\d*\.?\d+(e-?\d+)?){4,}\s*(\n|$)")
"""The first line of labels."""
BOX_VALUES = 4
SCORED = 6
"""Words of a line with a class, a box and a confidence, as predictions are saved; they are such if all lines are."""
SAMPLE = 2000
"""Images whose labels are looked at before all are read."""


@dataclass(frozen=True, slots=True)
class _Data:
    """What the file of a data set says: class names by number, images by split, keypoints, the licence."""

    names: Mapping[int, str]
    images: tuple[tuple[str, Path], ...]
    keypoints: tuple[str, ...] = ()
    values: int = 0
    licence: str = ""


def recognises(root: Path) -> Found | None:
    """A data.yaml with names, an obj.data or names alone, in a folder that has images, or such a file itself."""
    found = [one for file in _data_files(root) if (one := _recognised(file, root))]
    return max(found, key=lambda one: one.sureness, default=_nameless(root))


def _nameless(root: Path) -> Found | None:
    """A folder with images and labels of YOLO, but without a file that names the classes."""
    own = (_labels(image) for image in images_below(root))
    if not any(path.is_relative_to(root / LABELS) or path.parent == root for path in own if _has_numbers(path)):
        return None
    return Found("YOLO without the names of its classes", YoloReader(kind="yolo"), root, POSSIBLE)


def _has_numbers(labels: Path) -> bool:
    return NUMBERS.match(head_of(labels)) is not None


def _recognised(file: Path, root: Path) -> Found | None:
    if root.is_file():
        root = file.parent.parent if file.parent.name == LABELS else file.parent
    reader = YoloReader(kind="yolo", data=file.relative_to(root).as_posix())
    if file.suffix in YAML and (content := _yaml(file)) and _splits(content):
        if not content.keys() & {"names", "nc"}:
            return None
        title = "Roboflow YOLO" if "roboflow" in content else "YOLO (Ultralytics)"
        return Found(title, reader, root, CLEAR if _leads_to_images(root, file, content) else POSSIBLE)
    if file.suffix == ".data":
        return Found("YOLO (Darknet)", reader, root, CLEAR)
    if file.suffix in YAML and "names" not in content:
        return None
    own = (_labels(image) for image in images_below(root))
    if any(path.is_file() if file.name == "classes.txt" else _has_numbers(path) for path in own):
        return Found(f"YOLO ({file.name})", reader, root, LIKELY)
    return None


def open_yolo(root: Path, recipe: Recipe, reader: YoloReader) -> Source:
    """Read the classes and list the images; the images are read one by one as the rows are iterated.

    Raises VilamError if the classes are not named, or if no image or no labels are there.
    """
    path = root / reader.data
    if not path.is_file():
        path = next(iter(_data_files(root)), path)
    data = _read(root, path)
    if not data.images:
        raise VilamError(
            f"{path}: train, val and test lead to no images ({' '.join(IMAGE_SUFFIXES)}): check path and prepare.root"
        )
    if not any(_labels(image).is_file() for _, image in data.images):
        raise VilamError(
            f"{path}: none of {len(data.images)} images has labels: {_labels(data.images[0][1])} is missing"
        )
    if _counts_from_one(data):
        raise VilamError(
            f"{path}: classes are counted from 1: no label is of class 0, and class {len(data.names)} has no name: "
            "subtract 1 from the classes of the labels, or put a name before the others"
        )
    _tell_repeated_names(path, data.names)
    unlabelled = dict(_unlabelled(data.images))

    def item(entry: tuple[str, Path]) -> Item:
        split, image = entry
        return Item(image, under(root, image), split, str(image), partial(_shapes, image, data), whole=1)

    items = LazyItems([(split, image) for split, image in data.images if split not in unlabelled], item)
    schema = KeypointSchema.without_sigmas(data.keypoints)
    categories = list(data.names.values())
    keypoints = dict.fromkeys(categories, schema) if data.keypoints else {}
    problems = [*unlabelled.values(), *_without_image(data.images)]
    return source_of(Listing(items, categories, keypoints, problems, data.licence), recipe)


def _tell_repeated_names(path: Path, names: Mapping[int, str]) -> None:
    """Say which numbers have the same name, and are one category."""
    numbers: dict[str, list[str]] = {}
    for number, name in names.items():
        numbers.setdefault(tidy(name), []).append(str(number))
    for name, own in numbers.items():
        if len(own) > 1:
            logger.warning("%s: classes %s are all named %s: they become one category", path, ", ".join(own), name)


def _counts_from_one(data: _Data) -> bool:
    """Whether the classes of the first labels are 1 to N where N names are counted from 0; else N would be no class."""
    files = (path for _, image in data.images[:SAMPLE] if (path := _labels(image)).is_file())
    classes = {line.split()[0] for path in files for line in lines_of(path)}
    count = len(data.names)
    in_order = [*data.names] == [*range(count)]
    return in_order and str(count) in classes and classes <= {str(number) for number in range(1, count + 1)}


def _unlabelled(images: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, Problem]]:
    """The splits in which no image has labels."""
    by_split: dict[str, list[Path]] = {}
    for split, image in images:
        by_split.setdefault(split, []).append(image)
    for split, own in by_split.items():
        if not any(_labels(image).is_file() for image in own):
            told = f"none of the {len(own)} images of {split} has labels"
            yield split, Problem(split, str(_labels(own[0]).parent), told, UNREADABLE)


def _without_image(images: Iterable[tuple[str, Path]]) -> Iterator[Problem]:
    """Labels, in the folders of the images' labels, to which no image is there."""
    folders = {image.parent: (split, image) for split, image in images}
    for folder, (split, image) in folders.items():
        labels = _labels(image).parent
        if labels != folder and folder.is_dir():
            there = {stem_path(path).name for path in folder.iterdir() if is_image(path)} | {*DATA_FILES}
            for path in sorted(labels.glob("[!.]*.txt")):
                if path.name not in there and path.stat().st_size:
                    yield Problem(split, str(path), "its image is not found", MISSING)


def _data_files(root: Path) -> list[Path]:
    """Files that may name the classes, the most telling first; those in folders only if the root has none."""
    if root.is_file():
        return [root] if root.suffix in (*YAML, ".data") or _is_of_names(root) else []
    named = [*(root / name for name in DATA_FILES), root / LABELS / "classes.txt"]
    patterns = (*(f"*{ending}" for ending in (*YAML, ".data", *NAMES_ENDS)), *NAMES_FILES)
    others = [path for pattern in patterns for path in sorted(root.glob(pattern)) if path not in named]
    return [path for path in (*named, *others) if path.is_file()] or _names_below(root)


def _is_of_names(path: Path) -> bool:
    return path.name in NAMES_FILES or path.suffix in NAMES_ENDS


def _names_below(root: Path) -> list[Path]:
    """Files of nothing but names in the folders of a root, such as labelImg's and Roboflow's beside the labels."""
    patterns = (*NAMES_FILES, *(f"*{ending}" for ending in NAMES_ENDS), "data.yaml")
    found = (path for depth in DEPTHS for pattern in patterns for path in sorted(root.glob(depth + pattern)))
    return [path for path in found if path.suffix not in YAML or not _splits(_yaml(path))]


def _parsed(path: Path) -> Any:
    """The content of a YAML file; raises VilamError if it cannot be read."""
    try:
        with open_text(path) as file:
            return parse_yaml(file.read(), path)
    except OSError as error:
        raise VilamError(f"{path}: {error.strerror}: check prepare.root") from None


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = _parsed(path)
    except VilamError:
        return {}
    return content if isinstance(content, dict) else {}


def _read(root: Path, path: Path) -> _Data:
    if not path.is_file():
        raise VilamError(
            f"{root}: no {', '.join(DATA_FILES)} names the classes: check prepare.root, "
            "or write a classes.txt with a name in each line"
        )
    if path.suffix in YAML:
        return _of_yaml(root, path, _parsed(path))
    if path.suffix == ".data":
        return _of_darknet(root, path)
    names = dict(enumerate(lines_of(path)))
    for other in _names_below(root) if path.parent not in (root, root / LABELS) else ():
        if _is_of_names(other) and [*lines_of(other)] != [*names.values()]:
            raise VilamError(
                f"{path} and {other} name other classes, or in another order: whose numbers are in the labels? "
                "Bring the labels to one order, and leave one of the files"
            )
    return _Data(names, _by_folders(root))


def _by_folders(root: Path) -> tuple[tuple[str, Path], ...]:
    """All images below a root with the splits that their folders name."""
    return tuple((split_of_folders(under(root, image)), image) for image in images_below(root))


def _of_yaml(root: Path, path: Path, content: object) -> _Data:
    if not isinstance(content, dict) or not isinstance(content.get("names"), dict | list):
        raise VilamError(f"{path}: names is no list of the classes: write names: [cell, bead]")
    try:
        names = _names(content["names"])
        points, values = _keypoints(content)
    except (TypeError, ValueError):
        raise VilamError(
            f"{path}: expected names as a list, or by number such as 0: cell, and kpt_shape as two numbers"
        ) from None
    if isinstance(content.get("nc"), int) and content["nc"] != len(names):
        logger.warning("%s: nc is %d, but %d classes have names: read by the names", path, content["nc"], len(names))
    images = list(_of_splits(root, path, content) if _splits(content) else _by_folders(root))
    about = content.get("roboflow")
    licence = about.get("license") if isinstance(about, dict) else content.get("license")
    return _Data(names, _divided(images), points, values, str(licence or ""))


def _folders(root: Path, path: Path, content: Mapping[str, Any]) -> tuple[Path, ...]:
    told = str(content.get("path") or "")
    return tuple(Path(os.path.normpath(folder)) for folder in (root / told, path.parent / told, path.parent, root))


def _of_splits(root: Path, path: Path, content: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """The images of each split that a data.yaml names, by its paths, or else by the names of folders."""
    listed = list(_listed(_folders(root, path, content), content))
    yield from listed
    known = {image for _, image in listed}
    there = {split for split, _ in listed}
    nowhere = {key: split for key, split in _splits(content).items() if content[key] and split not in there}
    others = [(split, image) for split, image in _by_folders(root) if split in nowhere.values() and image not in known]
    for key, split in nowhere.items():
        count = sum(own == split for own, _ in others)
        told = f"{count} images are in folders of its name, and are read" if count else "the split is left out"
        logger.warning("%s: %s: %s leads to no images: %s", path, key, content[key], told)
    yield from others


def _leads_to_images(root: Path, path: Path, content: Mapping[str, Any]) -> bool:
    if next(_listed(_folders(root, path, content), content), None) is not None:
        return True
    return any(split in _splits(content).values() and _labels(image).is_file() for split, image in _by_folders(root))


def _listed(folders: Sequence[Path], content: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """The images of each split that a file names."""
    named = [(split, content[key]) for key, split in _splits(content).items() if content[key]]
    needs_name = len(named) > 1
    return ((split, image) for split, paths in named for image in _images(folders, paths, split * needs_name))


def _splits(content: Mapping[str, Any]) -> dict[str, str]:
    """The keys of a data.yaml that name images, each with its split: usual names, or subsets of CVAT (Lot: Lot.txt)."""
    named = {key: usual(str(key)) or (str(key) if content[key] == f"{key}.txt" else None) for key in content}
    return {key: split for key, split in named.items() if split}


def _divided(images: Sequence[tuple[str, Path]]) -> tuple[tuple[str, Path], ...]:
    """The images, undivided if they are train alone, or if other splits are the same folder again (coco128.yaml)."""
    train = {image for split, image in images if split == "train"}
    if train and train == {image for _, image in images}:
        return tuple((ALL, image) for image in dict.fromkeys(image for _, image in images))
    return tuple(images)


def _names(names: dict[Any, Any] | list[Any]) -> dict[int, str]:
    pairs = names.items() if isinstance(names, dict) else enumerate(names)
    return {int(number): str(name) for number, name in pairs}


def _keypoints(content: dict[str, Any]) -> tuple[tuple[str, ...], int]:
    """The names of the keypoints, which are numbers if the file does not tell, and the values of each."""
    shape = content.get("kpt_shape")
    if shape is None:
        return (), 0
    count, values = (int(number) for number in shape)
    told = content.get("kpt_names")
    listed = next(iter(told.values()), ()) if isinstance(told, dict) else told or ()
    names = [str(name) for name in listed] if len(listed) == count else [f"point {one + 1}" for one in range(count)]
    if values not in (2, 3):
        raise ValueError
    return tuple(names), values


def _of_darknet(root: Path, path: Path) -> _Data:
    pairs = (line.partition("=") for line in lines_of(path) if "=" in line)
    content = {key.strip(): value.strip() for key, _, value in pairs}
    names = find_by_end((path.parent, root), content.get("names", "obj.names"))
    if names is None:
        raise VilamError(f"{path}: names = {content.get('names')}: no such file")
    return _Data(dict(enumerate(lines_of(names))), _divided(list(_listed((path.parent, root), content))))


def _images(folders: Iterable[Path], listed: object, split: str = "") -> Iterator[Path]:
    """The images of a folder, of a text file of paths, or of a list of these; split: see `_is_other`."""
    places = tuple(folders)
    for one in listed if isinstance(listed, list) else [listed]:
        found = find_by_end(places, str(one)) if one else None
        if found is None or (split and _is_other(found, str(one), split)):
            continue
        if found.is_file() and found.suffix == ".txt":
            for line in lines_of(found):
                yield find_by_end((found.parent, *places), line) or found.parent / line
        elif found.is_file():
            yield found
        else:
            yield from images_below(found)


def _is_other(found: Path, told: str, split: str) -> bool:
    """Whether the end of a path is that of other splits too: ``images`` of ../test/images, without its split."""
    parts = PurePosixPath(told.replace("\\", "/")).parts
    return split in map(usual, parts) and split not in map(usual, found.parts[-len(parts) :])


def _labels(image: Path) -> Path:
    """The file of an image's labels: in the folder ``labels`` beside ``images``, or beside the image."""
    parts = list(image.parts)
    place = next((number for number in range(len(parts) - 2, -1, -1) if parts[number] in FOLDERS), None)
    if place is not None:
        parts[place] = FOLDERS[parts[place]]
    return next(
        (path for path in (stem_path(Path(*parts)), stem_path(image)) if path.is_file()), stem_path(Path(*parts))
    )


def _shapes(image: Path, data: _Data) -> list[Shape | Problem]:
    path = _labels(image)
    found: list[Shape | Problem] = []
    lines = list(lines_of(path, keep_empty=True)) if path.is_file() else []
    if {len(line.split()) for line in lines if line} == {SCORED}:
        lines = [line.rpartition(line.split()[-1])[0] if line else "" for line in lines]
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                found.append(_shape(line, data, f"line {number} of its labels"))
            except ValueError as error:
                found.append(Problem("", f"line {number} of its labels", str(error)))
    return found


def _shape(line: str, data: _Data, location: str) -> Shape:
    first, *rest = line.split()
    values = [float(value) for value in rest]
    try:
        number = float(first)
    except ValueError:
        raise ValueError(f"class {first!r} is no number") from None
    if number not in data.names:
        raise ValueError(f"unknown class {first}: {len(data.names)} classes have names, up to {max(data.names)}")
    category = data.names[int(number)]
    if len(values) == BOX_VALUES:
        return Shape(category, cxcywh_to_xyxy(values[:BOX_VALUES]), location=location)
    if data.values and len(values) == BOX_VALUES + len(data.keypoints) * data.values:
        flat, step = values[BOX_VALUES:], data.values
        points = [flat[start : start + step] for start in range(0, len(flat), step)]
        keypoints = tuple((p[0], p[1], int(p[2]) if step == 3 else 2 * any(p)) for p in points)
        return Shape(
            category,
            cxcywh_to_xyxy(values[:BOX_VALUES]),
            keypoints=keypoints if any(v for *_, v in keypoints) else (),
            location=location,
        )
    if data.values:
        expected = BOX_VALUES + len(data.keypoints) * data.values
        raise ValueError(f"{len(values)} numbers: expected a box (4), or a box and its keypoints ({expected})")
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(values)} numbers: neither a box (4) nor a polygon (6 or more, even)")
    ring = tuple(zip(values[::2], values[1::2], strict=True))
    return Shape(category, polygons=(ring,), location=location)


FORMAT = Format(
    "yolo",
    "YOLO",
    "data.yaml, obj.data, classes.txt or other names of classes; images/**, and labels/** or labels beside the images",
    "boxes, outlines, corners of oriented boxes, keypoints, splits, Roboflow's licence",
    "the angle of oriented boxes",
    recognises,
    open_yolo,
)
