"""Pascal VOC: an XML file for each image in Annotations, images in JPEGImages, splits in ImageSets/Main.

VOC counts pixels from 1, and its boxes include their last pixel: a box becomes (xmin - 1, ymin - 1, xmax, ymax).
Without ImageSets, the images are split 8 : 1 : 1 by a hash of their name.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from vilam.data.readers.source import Problem, RawRecord, Source, find_image, split_of
from vilam.data.recipes import Recipe
from vilam.data.records import ImageRecord, Region
from vilam.errors import VilamError

SPLITS = ("train", "val", "test")
SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


def open_voc(root: Path, recipe: Recipe) -> Source:
    """Read the VOC folder in a root, or one level below it; its categories are those that the files name."""
    folder = _voc_folder(root)
    splits = _splits(folder)
    names = {one for stems in splits.values() for stem in stems for one in _names(folder / "Annotations", stem)}
    rows = (_row(folder, stem, split, recipe) for split, stems in splits.items() for stem in stems)
    return Source(
        recipe.name,
        tuple(sorted(names)),
        {},
        SPLITS,
        (recipe.licence,),
        sum(map(len, splits.values())),
        (row for group in rows for row in group),
    )


def _voc_folder(root: Path) -> Path:
    for folder in (root, *sorted(root.glob("*"))):
        if (folder / "Annotations").is_dir() and (folder / "JPEGImages").is_dir():
            return folder
    raise VilamError(f"{root}: no Annotations and JPEGImages in it: set prepare.root to a Pascal VOC folder")


def _splits(folder: Path) -> dict[str, list[str]]:
    lists = {split: folder / "ImageSets" / "Main" / f"{split}.txt" for split in SPLITS}
    if all(path.is_file() for path in lists.values()):
        lines = {split: path.read_text(encoding="utf-8").splitlines() for split, path in lists.items()}
        return {split: [line.split()[0] for line in own if line.strip()] for split, own in lines.items()}
    stems = sorted(path.stem for path in (folder / "Annotations").glob("*.xml"))
    return {split: [stem for stem in stems if split_of(stem) == split] for split in SPLITS}


def _names(annotations: Path, stem: str) -> set[str]:
    try:
        return {_text(element, "name") for element in ET.parse(annotations / f"{stem}.xml").iter("object")}
    except (OSError, ET.ParseError, ValueError):  # a problem when its row is read
        return set()


def _row(folder: Path, stem: str, split: str, recipe: Recipe) -> Iterator[RawRecord | Problem]:
    path = folder / "Annotations" / f"{stem}.xml"
    try:
        tree = ET.parse(path)
        width, height = (int(_text(tree.getroot(), f"size/{side}")) for side in ("width", "height"))
        image = _image(folder / "JPEGImages", stem)
    except (OSError, ET.ParseError, ValueError) as error:
        yield Problem(split, str(path), f"cannot be read: {error}")
        return
    regions = []
    for number, element in enumerate(tree.iter("object")):
        try:
            regions.append(Region(f"{stem}_{number}", _box(element), _text(element, "name")))
        except ValueError as error:
            yield Problem(split, f"{path}: object {number + 1}", str(error))
    record = ImageRecord(stem, split, image, width, height, recipe.name, recipe.licence, (), tuple(regions))
    yield RawRecord(record, str(path))


def _image(images: Path, stem: str) -> bytes:
    for suffix in SUFFIXES:
        path = find_image((images,), stem + suffix)
        if path is not None:
            return path.read_bytes()
    raise ValueError(f"its image {stem} is not in {images.name}")


def _box(element: ET.Element) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(_text(element, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
    if x1 == x2 or y1 == y2:
        raise ValueError(f"box of no area: {x1:g} {y1:g} {x2:g} {y2:g}")
    return x1 - 1, y1 - 1, x2, y2


def _text(element: ET.Element, path: str) -> str:
    text = element.findtext(path)
    if not text or not text.strip():
        raise ValueError(f"no {path}")
    return text.strip()
