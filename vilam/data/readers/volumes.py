"""Volumes: the axial slices that show an object become images.

An object with a mask is shown in the slice where it is largest, a nodule in the slice of its centre. Objects of one
slice are regions of one image; slices without objects are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vilam.data.readers.dividing import of_recipe
from vilam.data.readers.images import read_volume, to_png
from vilam.data.readers.masks import region_of_mask
from vilam.data.readers.source import (
    Problem,
    RawRecord,
    Source,
    files_alone,
    files_beside,
    need_files_beside,
    split_order,
    stem,
)
from vilam.data.readers.table import read_table
from vilam.data.recipes import Nodules, Recipe, VolumesReader
from vilam.data.records import ImageRecord, Region
from vilam.errors import VilamError

Row = dict[str, str]
Objects = dict[int, list[Region]]
"""Regions by the index of their slice."""


def open_volumes(root: Path, recipe: Recipe, reader: VolumesReader) -> Source:
    """List the volumes; they are read one by one as the rows are iterated, and each may give several images."""
    files = [
        (split, path) for split, pattern in reader.images.items() for path in files_alone(root, pattern, reader.mask)
    ]
    if not files:
        raise VilamError(f"{root}: no volumes {', '.join(reader.images.values())}: check prepare.root")
    nodules = _nodule_rows(root, reader.nodules) if reader.nodules else {}
    if reader.mask:
        need_files_beside(root, ((path, str(reader.mask)) for _, path in files), "a mask")
    own = of_recipe([(split, stem(path)) for split, path in files], reader.together)
    ordered = sorted(zip(own, (path for _, path in files), strict=True), key=lambda pair: split_order(pair[0]))
    rows = (
        row for split, path in ordered for row in _rows(root, recipe, reader, split, path, nodules.get(stem(path), []))
    )
    splits = tuple(dict.fromkeys(split for split, _ in ordered))
    return Source(recipe.name, _categories(reader), {}, splits, (recipe.licence,), len(files), rows)


def _nodule_rows(root: Path, nodules: Nodules) -> dict[str, list[Row]]:
    """The rows of the nodules' table by volume."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in read_table(root / nodules.file, ",", [nodules.volume, *nodules.centre, nodules.diameter]):
        rows[row[nodules.volume]].append(row)
    return rows


def _categories(reader: VolumesReader) -> tuple[str, ...]:
    if reader.values:
        return tuple(sorted(set(reader.values.values())))
    return (str(reader.nodules.category if reader.nodules else reader.category),)


def _rows(
    root: Path, recipe: Recipe, reader: VolumesReader, split: str, path: Path, nodules: list[Row]
) -> Iterator[RawRecord | Problem]:
    name = (path.parent / stem(path)).relative_to(root).as_posix()
    try:
        values, image = read_volume(path)
        if values.ndim != 3:
            raise ValueError(f"{values.ndim} dimensions, expected three")
        if reader.nodules:
            objects = _nodules(name, reader.nodules, nodules, image)
        else:
            objects = _masked_objects(root, reader, path, name, values.shape)
    except (OSError, ValueError) as error:
        yield Problem(split, str(path), f"cannot be read: {error}")
        return
    for z, regions in sorted(objects.items()):
        content, width, height = to_png(values[z], reader.window)
        record = ImageRecord(
            f"{name}_{z:04d}", split, content, width, height, recipe.name, recipe.licence, (), tuple(regions)
        )
        yield RawRecord(record, f"{path}: slice {z}")


def _nodules(name: str, columns: Nodules, nodules: list[Row], image: Any) -> Objects:
    """Nodules, balls in millimetres, as boxes in the slices of their centres."""
    spacing = image.GetSpacing()
    objects: Objects = defaultdict(list)
    for number, row in enumerate(nodules):
        centre = [float(row[axis]) for axis in columns.centre]
        x, y, z = image.TransformPhysicalPointToContinuousIndex(centre)
        if not 0 <= round(z) < image.GetSize()[2]:
            raise ValueError(f"object {number + 1} at {centre} lies outside the volume")
        radius = float(row[columns.diameter]) / 2
        # A voxel's index is that of its centre; a pixel covers from its index to the next.
        across, down = radius / spacing[0], radius / spacing[1]
        box = (x + 0.5 - across, y + 0.5 - down, x + 0.5 + across, y + 0.5 + down)
        objects[round(z)].append(Region(f"{name}_{number}", box, columns.category))
    return objects


def _masked_objects(root: Path, reader: VolumesReader, path: Path, name: str, shape: tuple[int, ...]) -> Objects:
    """Each object of the masks in the slice where it is largest."""
    objects: Objects = defaultdict(list)
    number = 0
    for file in files_beside(root, str(reader.mask), path):
        labels, _ = read_volume(file)
        if labels.shape != shape:
            raise ValueError(f"its mask {file.name} is {labels.shape}, it {shape} (z, y, x)")
        for category, mask in _by_category(labels, reader):
            areas = np.count_nonzero(mask, axis=(1, 2))
            if areas.any():
                z = int(areas.argmax())
                objects[z].append(region_of_mask(f"{name}_{number}", category, mask[z]))
                number += 1
    return objects


def _by_category(labels: NDArray[Any], reader: VolumesReader) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    if reader.values is None:
        yield str(reader.category), labels > 0
        return
    for value, category in reader.values.items():
        yield category, labels == int(value)
