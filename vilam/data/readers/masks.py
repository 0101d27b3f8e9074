"""Folders of images and folders of their masks, which give boxes and polygons.

A mask is an image of the same size. If all objects have one category, every value above half of the brightest is the
object, so that masks of 1 and of 255 are read alike; else each pixel value (grey or palette) or colour names a
category.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label

from vilam.data.masks import Mask, mask_box, mask_to_polygons
from vilam.data.readers.dividing import of_recipe
from vilam.data.readers.images import read_image
from vilam.data.readers.naming import picture_ids, without_suffix
from vilam.data.readers.source import (
    Problem,
    RawRecord,
    Source,
    files_alone,
    files_beside,
    group_of,
    need_files_beside,
    split_order,
)
from vilam.data.readers.table import read_table, renamed
from vilam.data.recipes import CategoryTable, MasksReader, Recipe
from vilam.data.records import ImageRecord, Region
from vilam.errors import VilamError
from vilam.geometry.boxes import clip_box

FOLDER = "{name}"
MIN_AREA = 4.0
"""Square pixels of a part, at least; smaller ones are specks that annotators left."""


@dataclass(frozen=True, slots=True)
class _Image:
    """An image, its split in the recipe, the category of its objects unless mask values name it, its masks' pattern.

    group: the name whose hash decides the split, if the recipe does not.
    """

    path: Path
    name: str
    split: str
    group: str
    category: str | None
    mask: str


def open_masks(root: Path, recipe: Recipe, reader: MasksReader) -> Source:
    """List the images; they and their masks are read one by one as the rows are iterated."""
    table = _table(root, reader.table) if reader.table else {}
    images = [
        _image(root, reader, split, path, table)
        for split, pattern in reader.images.items()
        for path in files_alone(root, pattern, _pattern(reader, split))
    ]
    if not images:
        raise VilamError(f"{root}: no images {', '.join(reader.images.values())}: check prepare.root")
    need_files_beside(root, ((image.path, image.mask) for image in images), "a mask")
    splits = of_recipe([(image.split, image.group) for image in images])
    ids = picture_ids([image.name for image in images], splits)
    listed = sorted(zip(splits, ids, images, strict=True), key=lambda one: split_order(one[0]))
    found = set(reader.values.values()) if reader.values else {image.category for image in images if image.category}
    rows = (row for split, image_id, image in listed for row in _rows(root, recipe, reader, image, image_id, split))
    there = tuple(dict.fromkeys(split for split, _, _ in listed))
    return Source(recipe.name, tuple(sorted(found)), {}, there, (recipe.licence,), len(images), rows)


def _table(root: Path, table: CategoryTable) -> dict[str, tuple[str | None, str]]:
    """The category, and the name whose hash decides the split, by image."""
    columns = [table.image, table.category, *([table.together] if table.together else [])]
    found: dict[str, tuple[str | None, str]] = {}
    for row in read_table(root / table.file, ",", columns):
        image, category = row[table.image], renamed(row[table.category], table.categories)
        if image not in found or found[image][0] is None:  # a later row without a category changes nothing
            found[image] = category, row[table.together or table.image]
    return found


def _image(root: Path, reader: MasksReader, split: str, path: Path, table: dict[str, tuple[str | None, str]]) -> _Image:
    name = path.relative_to(root).as_posix()
    category, group = reader.category, group_of(without_suffix(name), reader.together)
    if reader.table:
        category, group = table.get(path.stem, (None, group))
    elif category == FOLDER:
        category = path.parent.name
    return _Image(path, name, split, group, category, _pattern(reader, split))


def _pattern(reader: MasksReader, split: str) -> str:
    return reader.mask[split] if isinstance(reader.mask, dict) else reader.mask


def _rows(
    root: Path, recipe: Recipe, reader: MasksReader, image: _Image, image_id: str, split: str
) -> Iterator[RawRecord | Problem]:
    path = image.path
    try:
        content, width, height = read_image(path, reader.window)
    except OSError as error:
        yield Problem(split, str(path), f"cannot be read: {error}")
        return
    regions: list[Region] = []
    for file in files_beside(root, image.mask, path):
        try:
            for category, mask in _objects(file, reader, image.category, (width, height)):
                regions.append(region_of_mask(f"{image_id}_{len(regions)}", category, mask))
        except (OSError, ValueError) as error:
            yield Problem(split, str(file), str(error))
    record = ImageRecord(image_id, split, content, width, height, recipe.name, recipe.licence, (), tuple(regions))
    yield RawRecord(record, str(path))


def _objects(
    file: Path, reader: MasksReader, category: str | None, size: tuple[int, int]
) -> Iterator[tuple[str, Mask]]:
    """Category and mask [height, width] of each object in a mask file."""
    with Image.open(file) as image:
        if image.size != size:
            raise ValueError(f"the mask is {image.width}x{image.height}, its image {size[0]}x{size[1]}")
        for name, mask in _by_category(image, reader.values, category):
            if mask.any():
                yield from ((name, part) for part in (_parts(mask) if reader.objects == "parts" else [mask]))


def _by_category(
    image: Image.Image, values: Mapping[str, str] | None, category: str | None
) -> Iterator[tuple[str, Mask]]:
    if values is None:
        if category is None:
            raise ValueError("its image has no category in the recipe's table")
        grey = np.asarray(image.convert("L"))
        yield category, (grey > int(grey.max()) / 2) & (grey > 0)
        return
    for value, name in values.items():
        wanted = [int(part) for part in value.split(",")]
        pixels: NDArray[np.uint8] = np.asarray(image.convert("RGB") if len(wanted) == 3 else image)
        if len(wanted) == 3:
            yield name, (pixels == np.array(wanted)).all(-1)
        elif pixels.ndim == 2:
            yield name, pixels == wanted[0]
        else:
            raise ValueError(f"the mask has colours, the recipe names the value {value}: write it as R,G,B")


def _parts(mask: Mask) -> Iterator[Mask]:
    """The connected parts, where corners count as touching; specks are left out."""
    labels, count = label(mask, structure=np.ones((3, 3)))
    for number in range(1, count + 1):
        part = labels == number
        if np.count_nonzero(part) >= MIN_AREA:
            yield part


def region_of_mask(region_id: str, category: str, mask: Mask) -> Region:
    """The region of a mask [height, width], with its box and polygons."""
    height, width = mask.shape
    return Region(region_id, clip_box(mask_box(mask), width, height), category, mask_to_polygons(mask, MIN_AREA))
