"""nnU-Net's raw folders: volumes or pictures, a file of labels for each, and dataset.json, which names the labels.

A case is ``imagesTr/CASE_0000.nii.gz`` with ``labelsTr/CASE.nii.gz``; other channels (``_0001``) are not shown. Sets of
the Medical Segmentation Decathlon have no channel in the name, and all channels in one file. ``imagesTs`` is the test
split if ``labelsTs`` lies beside it.

dataset.json: ``labels`` from value to name (version 1) or from name to value, or to a list of values for an object that
contains others (version 2). 0 is the background, and the label ``ignore`` marks what nobody has labelled.

The slices in which an object is largest become pictures, with all objects that they show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vilam.data.kinds import BROKEN
from vilam.data.readers.dividing import of_recipe
from vilam.data.readers.formats import CLEAR, Format, Found
from vilam.data.readers.images import read_picture, read_volume, to_png
from vilam.data.readers.masks import region_of_mask
from vilam.data.readers.source import ALL, Problem, RawRecord, Source, read_json, split_order, tidy
from vilam.data.recipes import FormatReader, Recipe, Window
from vilam.data.records import ImageRecord, Region
from vilam.errors import VilamError, one_line

DATA_FILE = "dataset.json"
FIRST_CHANNEL = "_0000"
FOLDERS = (("imagesTr", "labelsTr", ALL), ("imagesTs", "labelsTs", "test"))
"""Folders of the images and of their labels, and the split."""
VOLUMES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
IGNORED = ("background", "ignore")

Labels = Mapping[str, tuple[int, ...]]
"""The values of each category."""


@dataclass(frozen=True, slots=True)
class _Case:
    """An image and its labels."""

    name: str
    split: str
    image: Path
    labels: Path


def recognises(root: Path) -> Found | None:
    """A dataset.json with labels, beside imagesTr and labelsTr; or this file itself."""
    folder = root.parent if root.name == DATA_FILE else root
    if not all((folder / name).is_dir() for name in FOLDERS[0][:2]):
        return None
    try:
        content = read_json(folder / DATA_FILE)
    except VilamError:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        return None
    decathlon = isinstance(content.get("training"), list) and "channel_names" not in content
    title = "Medical Segmentation Decathlon" if decathlon else "nnU-Net"
    licence = content.get("licence") or content.get("license")
    return Found(title, FormatReader(kind="nnunet"), folder, CLEAR, licence if isinstance(licence, str) else "")


def open_nnunet(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """List the cases; they are read one by one as the rows are iterated, and each may give several pictures."""
    path = root / DATA_FILE
    labels = _labels(path, read_json(path))
    cases = list(_cases(root))
    if not cases:
        raise VilamError(f"{root}: no file of labelsTr has an image in imagesTr: check prepare.root")
    has_test = any(case.split != ALL for case in cases)
    parts = [(case.split if case.split != ALL or not has_test else "train+val", case.name) for case in cases]
    ordered = sorted(zip(of_recipe(parts, reader.together), cases, strict=True), key=lambda pair: split_order(pair[0]))
    rows = (row for split, case in ordered for row in _rows(recipe, case, split, labels, reader.window))
    splits = tuple(dict.fromkeys(split for split, _ in ordered))
    return Source(recipe.name, tuple(labels), {}, splits, (recipe.licence,), len(cases), rows)


def _labels(path: Path, content: Any) -> Labels:
    """The values of each category, of both versions of the file; raises VilamError if there are none."""
    own = content.get("labels") if isinstance(content, dict) else None
    found: dict[str, tuple[int, ...]] = {}
    try:
        for key, value in dict(own or {}).items():
            name, values = (value, [key]) if isinstance(value, str) else (key, value)
            numbers = tuple(int(one) for one in (values if isinstance(values, list) else [values]))
            if tidy(name).casefold() not in IGNORED and numbers != (0,):
                found[tidy(name)] = numbers
    except (TypeError, ValueError) as error:
        raise VilamError(f"{path}: labels: {one_line(error)}: expected names and whole numbers") from None
    if not found:
        raise VilamError(f"{path}: names no labels beside the background: it has {own}")
    return found


def _cases(root: Path) -> Iterator[_Case]:
    for images, labels, split in FOLDERS:
        for file in sorted((root / labels).glob("*")):
            if file.is_file() and not file.name.startswith("."):
                name, ending = _parts(file)
                names = (f"{name}{FIRST_CHANNEL}{ending}", f"{name}{ending}")
                image = next((root / images / own for own in names if (root / images / own).is_file()), None)
                yield _Case(name, split, image or root / images / names[0], file)


def _parts(file: Path) -> tuple[str, str]:
    """The name of a case, and the ending of its files."""
    ending = next((end for end in VOLUMES if file.name.lower().endswith(end)), file.suffix)
    return file.name[: len(file.name) - len(ending)], ending


def _rows(
    recipe: Recipe, case: _Case, split: str, labels: Labels, window: Window | None
) -> Iterator[RawRecord | Problem]:
    if not case.image.is_file():
        yield Problem(split, str(case.labels), f"image file {case.image} not found")
        return
    is_volume = case.labels.name.lower().endswith(VOLUMES)
    try:
        pictures = list((_slices if is_volume else _picture)(case, labels, window))
    except (OSError, ValueError, SyntaxError) as error:
        yield Problem(split, str(case.image), f"cannot be read: {one_line(error)}", BROKEN)
        return
    for image_id, (content, width, height), regions in pictures:
        facts = recipe.name, recipe.licence, (), tuple(regions)
        yield RawRecord(ImageRecord(image_id, split, content, width, height, *facts), f"{case.image}: {image_id}")


Pictured = tuple[str, tuple[bytes, int, int], list[Region]]
"""The id of a picture, its file with width and height, and its regions."""


def _slices(case: _Case, labels: Labels, window: Window | None) -> Iterator[Pictured]:
    """The slices in which an object is largest, with all of their objects."""
    values, marks = (_three_axes(read_volume(path)[0]) for path in (case.image, case.labels))
    if marks.shape != values.shape:
        raise ValueError(f"its labels {case.labels.name} are {marks.shape}, it {values.shape} (z, y, x)")
    masks = {name: np.isin(marks, numbers) for name, numbers in labels.items()}
    areas = {name: np.count_nonzero(mask, axis=(1, 2)) for name, mask in masks.items()}
    for z in sorted({int(area.argmax()) for area in areas.values() if area.any()}):
        image_id = f"{case.name}_{z:04d}"
        yield image_id, to_png(values[z], window), _regions(image_id, {name: mask[z] for name, mask in masks.items()})


def _picture(case: _Case, labels: Labels, window: Window | None) -> Iterator[Pictured]:
    picture = read_picture(case.image, window)
    with Image.open(case.labels) as image:
        marks = np.asarray(image)
    if marks.shape != (picture.height, picture.width):
        raise ValueError(f"its labels {case.labels.name} are {marks.shape}, it {picture.height, picture.width} (y, x)")
    masks = {name: np.isin(marks, numbers) for name, numbers in labels.items()}
    yield case.name, (picture.content, picture.width, picture.height), _regions(case.name, masks)


def _regions(image_id: str, masks: Mapping[str, NDArray[np.bool_]]) -> list[Region]:
    """The regions of the masks [height, width] of a picture."""
    found = [(name, mask) for name, mask in masks.items() if mask.any()]
    return [region_of_mask(f"{image_id}_{number}", name, mask) for number, (name, mask) in enumerate(found)]


def _three_axes(values: NDArray[Any]) -> NDArray[Any]:
    """Values [z, y, x], also of one slice."""
    return values[None] if values.ndim == 2 else values


FORMAT = Format(
    "nnunet",
    "nnU-Net",
    "dataset.json, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz",
    "outlines and boxes in the slices where an object is largest, names of labels, regions of several labels",
    "other slices, channels but the first",
    recognises,
    open_nnunet,
)
