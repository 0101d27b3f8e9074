"""Masks of Open Images: SPLIT-annotations-object-segmentation.csv and a PNG for each mask, below the root.

A row names the PNG, the picture, the category's id and the box of the object (fractions): it belongs to the box with
the same numbers. A mask may have another size than its picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vilam.data.kinds import OUTLINE
from vilam.data.masks import mask_to_polygons
from vilam.data.readers.figures import png_to_mask
from vilam.data.readers.items import Shape
from vilam.data.readers.source import Problem
from vilam.geometry.boxes import Box

COLUMNS = {"MaskPath", "ImageID", "LabelName", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax"}
"""Columns of a file of masks."""
SAME = 0.002
"""Part of a side by which the numbers of a box may differ in two files."""


def box_of(row: Mapping[str, str]) -> Box:
    """The box of a row of masks, in fractions; raises ValueError if it is none."""
    x1, x2, y1, y2 = (float(row[key]) for key in ("BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax"))
    return x1, y1, x2, y2


def number_of(shapes: Sequence[Shape | Problem], category: str, box: Box) -> int | None:
    """The number of the object of a category whose box is nearest to a box; None if none is the same."""
    apart = {
        number: max(abs(one - other) for one, other in zip(shape.box_xyxy, box, strict=True))
        for number, shape in enumerate(shapes)
        if isinstance(shape, Shape) and shape.category == category and shape.box_xyxy is not None
    }
    nearest = min(apart, key=apart.__getitem__, default=None)
    return nearest if nearest is not None and apart[nearest] <= SAME else None


def with_masks(shapes: Sequence[Shape | Problem], masks: Mapping[int, Path]) -> list[Shape | Problem]:
    """The objects, those with masks by number with their outlines in fractions; masks that cannot be read are told."""
    found = list(shapes)
    for number, path in masks.items():
        shape = shapes[number]
        if not isinstance(shape, Shape):
            continue
        try:
            mask = png_to_mask(path.read_bytes())
        except (OSError, ValueError) as error:
            found.append(Problem("", shape.location, f"outline left out: {path.name}: {error}", OUTLINE))
            continue
        height, width = mask.shape
        rings = [tuple((x / width, y / height) for x, y in ring) for ring in mask_to_polygons(mask)]
        found[number] = replace(shape, polygons=tuple(rings))
    return found
