"""Which format a folder or a file is of, and the recipe of a format that needs none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vilam.data.readers import csv_boxes
from vilam.data.readers.dividing import usual
from vilam.data.readers.formats import Format, Found
from vilam.data.readers.paths import ALONE, images_below
from vilam.data.recipes import UNKNOWN, Recipe
from vilam.errors import VilamError

DEEP = 6
"""Folders in each other that are looked into, such as an archive leaves them."""
MANY = 20
"""Folders in a folder that are looked into to say where a data set lies."""
PARTS = (
    *("images", "img", "image_2", "jpegimages", "imagesets", "labels", "label_2", "annotations", "ann"),
    *("train", "valid", "val", "test"),
)
"""Names of folders that are a part of a data set."""
UNREAD = {
    "*.createml.json": "CreateML is not read: export it as COCO, YOLO or Pascal VOC",
    "*.tfrecord*": "TFRecord is not read: export it as COCO, YOLO or Pascal VOC",
    "*.arrow": "Arrow files of save_to_disk are not read: write each split with Dataset.to_parquet",
    "labelTxt/*.txt": "DOTA's labelTxt is not read: convert it to YOLO's oriented boxes",
}
"""What to do with files of other formats, by their names."""
MASKS = ("masks", "mask", "groundtruth", "ground_truth", "gt", "segmentation", "segmentations", "annotations", "labels")
"""Names of folders that may hold masks, in lower case."""
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z")


def recognise(path: Path, formats: Sequence[Format]) -> list[tuple[Format, Found]]:
    """The formats that a folder or file may be of, the surest first; raises VilamError if it does not exist.

    A folder in which there is nothing else than one folder stands for that; one of annotations alone for that above it.
    """
    if not path.exists():
        raise VilamError(f"{path}: no such folder or file: name the data set's folder (prepare.root)")
    if path.is_dir() and path.name.lower() in ALONE and not images_below(path):
        path = path.parent
    found = next(filter(None, (_recognised(folder, formats) for folder in _unpacked(path))), [])
    return sorted(found, key=lambda pair: -pair[1].sureness)


def in_folders(
    path: Path, known: Sequence[tuple[Format, Found]], formats: Sequence[Format]
) -> Iterator[tuple[Format, Found]]:
    """Other formats than the known ones, in the folders of a folder that are no parts of a data set."""
    names = {each.name for each, _ in known}
    for folder in _folders(path)[:MANY]:
        if folder.name.lower() not in PARTS and usual(folder.name) is None:
            for each, one in _recognised(folder, [each for each in formats if each.name not in names]):
                names.add(each.name)
                yield each, one


def _recognised(path: Path, formats: Sequence[Format]) -> list[tuple[Format, Found]]:
    return [(each, one) for each in formats if (one := each.recognises(path)) is not None]


def _unpacked(path: Path) -> Iterator[Path]:
    """A path, and the only folder in it, and the only one in that."""
    for _ in range(DEEP):
        yield path
        if len(inner := _folders(path)) != 1:
            return
        path = inner[0]


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith((".", "__")))


def advice(path: Path, formats: Sequence[Format]) -> str:
    """What to do with a path that is of no format: where one lies near it, or where to read on."""
    if path.is_file() and path.suffix.lower() in ARCHIVES:
        return "unpack the archive, and set prepare.root to its folder"
    around = [path.parent] if path.is_file() else []
    if path.name.lower() in PARTS:
        above = [path.parent, path.parent.parent]
        around = above[::-1] if path.parent.name.lower() in PARTS else above
    for folder in (*around, *_folders(path)[:MANY]):
        for _, one in _recognised(folder, formats):
            return f"{one.title} is in {folder}: set prepare.root to that"
    if path.is_dir() and (packed := sorted(one for one in path.iterdir() if one.suffix.lower() in ARCHIVES)):
        return f"unpack {packed[0].name} and what else is packed"
    for pattern, told in UNREAD.items():
        if any(next(path.glob(above + pattern), None) for above in ("", "*/", "*/*/")):
            return told
    if path.is_dir() and not images_below(path):
        return "no picture lies in it: put the pictures beside their annotations, or in images"
    if masks := next((one for one in _folders(path) if one.name.lower() in MASKS and images_below(one)), None):
        return f"if masks lie in {masks.name}, write a recipe of kind masks (docs/datasets.md, A data set of your own)"
    return csv_boxes.advice(path) or "see docs/datasets.md, or write a recipe"


def recipe_of(each: Format, found: Found) -> Recipe:
    """The recipe of a data set that was recognised."""
    return Recipe(
        name=each.name,
        title=found.title,
        home=UNKNOWN,
        licence=found.licence or UNKNOWN,
        layout=each.layout,
        splits="those of the files; without test, val becomes test and a tenth of train val; train alone is divided",
        leakage=UNKNOWN,
        exhaustive=each.exhaustive,
        reader=found.reader,  # type: ignore[arg-type]
    )
