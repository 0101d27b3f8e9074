"""Folders of images and of masks beside them, from which boxes and outlines are taken.

A mask is a picture of the image's size. With a category for all objects every value above half of the brightest is the
object, so that masks of 1 and of 255 read alike; else each pixel value (grey or palette) or colour names a category.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label

from vilam.data.masks import Mask, mask_box, mask_to_polygons
from vilam.data.readers.pictures import read_picture
from vilam.data.readers.source import ALL, Problem, RawRecord, Source, divided
from vilam.data.recipes import MasksReader, Recipe
from vilam.data.records import ImageRecord, Region
from vilam.errors import VilamError
from vilam.geometry.boxes import clip_box

FOLDER = "{folder}"
MIN_AREA = 4.0
"""Square pixels of a part; smaller ones are the annotators' crumbs."""


def open_masks(root: Path, recipe: Recipe, reader: MasksReader) -> Source:
    """List the images; they and their masks are read one by one as the rows are taken."""
    images = [(split, path) for split, pattern in reader.images.items() for path in _images(root, reader, pattern)]
    if not images:
        raise VilamError(f"{root}: no images {', '.join(reader.images.values())}: check prepare.root")
    placed = [(divided(path.relative_to(root).as_posix()) if split == ALL else split, path) for split, path in images]
    categories = set(reader.values.values()) if reader.values else {_constant(root, reader, path) for _, path in images}
    splits = tuple(split for split in ("train", "val", "test") if split in dict(placed))
    extra = tuple(sorted({split for split, _ in placed} - {*splits}))
    rows = (row for split, path in placed for row in _rows(root, recipe, reader, split, path))
    order = tuple(sorted(categories))
    return Source(recipe.name, order, {}, (*splits, *extra), (recipe.licence,), len(images), rows)


def _images(root: Path, reader: MasksReader, pattern: str) -> list[Path]:
    """The pictures that are no masks of others."""
    found = sorted(path for path in root.glob(pattern) if path.is_file())
    masks = {mask for path in found for mask in _masks(root, reader, path)}
    return [path for path in found if path not in masks]


def _masks(root: Path, reader: MasksReader, image: Path) -> list[Path]:
    folder = image.parent.relative_to(root).as_posix()
    pattern = reader.mask.format(stem=glob.escape(image.stem), folder=glob.escape(folder))
    return sorted(path for path in root.glob(pattern) if path != image)


def _constant(root: Path, reader: MasksReader, image: Path) -> str:
    return image.parent.name if reader.category == FOLDER else str(reader.category)


def _rows(root: Path, recipe: Recipe, reader: MasksReader, split: str, path: Path) -> Iterator[RawRecord | Problem]:
    try:
        content, width, height = read_picture(path)
    except OSError as error:
        yield Problem(split, str(path), f"cannot be read: {error}")
        return
    image_id = path.relative_to(root).with_suffix("").as_posix()
    regions: list[Region] = []
    for file in _masks(root, reader, path):
        try:
            for category, mask in _objects(file, reader, _constant(root, reader, path), (width, height)):
                regions.append(_region(f"{image_id}_{len(regions)}", category, mask))
        except (OSError, ValueError) as error:
            yield Problem(split, str(file), str(error))
    record = ImageRecord(image_id, split, content, width, height, recipe.name, recipe.licence, (), tuple(regions))
    yield RawRecord(record, str(path))


def _objects(file: Path, reader: MasksReader, constant: str, size: tuple[int, int]) -> Iterator[tuple[str, Mask]]:
    """Category and mask [height, width] of each object that a file shows."""
    with Image.open(file) as image:
        if image.size != size:
            raise ValueError(f"the mask is {image.width}x{image.height}, its image {size[0]}x{size[1]}")
        for category, mask in _named(image, reader, constant):
            if mask.any():
                yield from ((category, part) for part in (_parts(mask) if reader.objects == "parts" else [mask]))


def _named(image: Image.Image, reader: MasksReader, constant: str) -> Iterator[tuple[str, Mask]]:
    if reader.values is None:
        grey = np.asarray(image.convert("L"))
        yield constant, (grey > int(grey.max()) / 2) & (grey > 0)
        return
    for value, category in reader.values.items():
        wanted = [int(part) for part in value.split(",")]
        pixels: NDArray[np.uint8] = np.asarray(image.convert("RGB") if len(wanted) == 3 else image)
        if len(wanted) == 3:
            yield category, (pixels == np.array(wanted)).all(-1)
        elif pixels.ndim == 2:
            yield category, pixels == wanted[0]
        else:
            raise ValueError(f"the mask has colours, the recipe names the value {value}: write it as R,G,B")


def _parts(mask: Mask) -> Iterator[Mask]:
    """The connected parts, corners counted as touching; crumbs are left out."""
    labels, count = label(mask, structure=np.ones((3, 3)))
    for number in range(1, count + 1):
        part = labels == number
        if np.count_nonzero(part) >= MIN_AREA:
            yield part


def _region(region_id: str, category: str, mask: Mask) -> Region:
    height, width = mask.shape
    return Region(region_id, clip_box(mask_box(mask), width, height), category, mask_to_polygons(mask, MIN_AREA))
