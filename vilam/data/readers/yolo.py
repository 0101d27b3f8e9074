"""YOLO: a text file for each image with an object in each line; coordinates are fractions of the image's sides.

A line is ``class cx cy width height``, or ``class x1 y1 x2 y2 x3 y3 ...`` for a polygon of three points or more with
the box around it. ``data.yaml`` names the classes (``names``, a list or by number) and the images of ``train``, ``val``
and ``test``: a folder, a text file of paths, or a list of these, under ``path`` or the root. The labels of
``.../images/x.jpg`` are ``.../labels/x.txt``; an image without that file has no objects. If there is no test, val
becomes test, and a tenth of train becomes val.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vilam.config import read_yaml
from vilam.data.readers.images import read_image
from vilam.data.readers.source import IMAGE_SUFFIXES, TRAIN_AND_VAL, Problem, RawRecord, Source, split_of
from vilam.data.recipes import Recipe, YoloReader
from vilam.data.records import ImageRecord, Polygon, Region
from vilam.errors import VilamError
from vilam.geometry.polygons import polygon_box

SPLITS = ("train", "val", "test")
BOX_VALUES = 4


def open_yolo(root: Path, recipe: Recipe, reader: YoloReader) -> Source:
    """Read the classes and list the images; the images are read one by one as the rows are iterated."""
    path = root / reader.data
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("names"), dict | list):
        raise VilamError(f"{path}: names is missing: list the classes there")
    try:
        names = _names(content["names"])
    except (TypeError, ValueError):
        raise VilamError(f"{path}: names: expected a list, or names by number such as 0: cell") from None
    base = _base(root, content.get("path"))
    images = [(split, image) for split in SPLITS for image in _images(base, content.get(split))]
    if not images:
        raise VilamError(f"{path}: train, val and test lead to no images: check path and prepare.root")
    rows = (row for split, image in _with_test(images) for row in _rows(root, recipe, names, split, image))
    return Source(recipe.name, tuple(names.values()), {}, SPLITS, (recipe.licence,), len(images), rows)


def _names(names: dict[Any, Any] | list[Any]) -> dict[int, str]:
    pairs = names.items() if isinstance(names, dict) else enumerate(names)
    return {int(number): str(name) for number, name in pairs}


def _base(root: Path, path: object) -> Path:
    """The folder ``path`` of data.yaml; the root if there is none, since it is often a path on the author's machine."""
    folder = root / str(path or "")
    return folder if folder.is_dir() else root


def _images(base: Path, listed: object) -> Iterator[Path]:
    for one in listed if isinstance(listed, list) else [listed]:
        if one is None:
            continue
        path = base / str(one)
        if path.suffix == ".txt":
            lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if path.is_file() else []
            yield from (path.parent / line.strip() for line in lines if line.strip())
        else:
            yield from sorted(each for each in path.rglob("*") if each.suffix.lower() in IMAGE_SUFFIXES)


def _with_test(images: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    if any(split == "test" for split, _ in images):
        return images
    return [("test" if split == "val" else split_of(image.name, TRAIN_AND_VAL), image) for split, image in images]


def _rows(root: Path, recipe: Recipe, names: dict[int, str], split: str, path: Path) -> Iterator[RawRecord | Problem]:
    try:
        image, width, height = read_image(path)
        lines = _lines(path)
    except (OSError, ValueError) as error:
        yield Problem(split, str(path), f"cannot be read: {error}")
        return
    image_id = path.relative_to(root).with_suffix("").as_posix() if path.is_relative_to(root) else path.stem
    regions = []
    for number, line in enumerate(lines, start=1):
        try:
            regions.append(_region(f"{image_id}_{number}", line, names, width, height))
        except ValueError as error:
            yield Problem(split, f"{path}: line {number} of its labels", str(error))
    record = ImageRecord(image_id, split, image, width, height, recipe.name, recipe.licence, (), tuple(regions))
    yield RawRecord(record, str(path))


def _lines(path: Path) -> list[str]:
    """The lines of an image's labels."""
    parts = list(path.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    labels = Path(*parts).with_suffix(".txt")
    return (
        [line for line in labels.read_text(encoding="utf-8").splitlines() if line.strip()] if labels.is_file() else []
    )


def _region(region_id: str, line: str, names: dict[int, str], width: int, height: int) -> Region:
    first, *rest = line.split()
    values = [float(value) for value in rest]
    if int(first) not in names:
        raise ValueError(f"unknown class {first}")
    category = names[int(first)]
    if len(values) == BOX_VALUES:
        cx, cy, w, h = values
        box = ((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height)
        return Region(region_id, box, category)
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(values)} numbers: neither a box (4) nor a polygon (6 or more, even)")
    ring: Polygon = tuple((x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True))
    return Region(region_id, polygon_box(ring), category, (ring,))
