"""Images and text files beside them, with one box in each line: x1 y1 x2 y2 in pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vilam.data.readers.dividing import of_recipe
from vilam.data.readers.images import read_image
from vilam.data.readers.naming import picture_ids, without_suffix
from vilam.data.readers.paths import lines_of
from vilam.data.readers.source import Problem, RawRecord, Source, files_beside, need_files_beside, split_order
from vilam.data.recipes import LinesReader, Recipe
from vilam.data.records import ImageRecord, Region
from vilam.errors import VilamError


def open_lines(root: Path, recipe: Recipe, reader: LinesReader) -> Source:
    """List the images; they are read one by one as the rows are iterated."""
    images = [
        (split, path, reader.labels[split])
        for split, pattern in reader.images.items()
        for path in sorted(root.glob(pattern))
    ]
    if not images:
        raise VilamError(f"{root}: no images {', '.join(reader.images.values())}: check prepare.root")
    need_files_beside(root, ((path, labels) for _, path, labels in images), "a label file")
    names = [path.relative_to(root).as_posix() for _, path, _ in images]
    own = of_recipe(
        [(image[0], without_suffix(name)) for image, name in zip(images, names, strict=True)], reader.together
    )
    ids = picture_ids(names, own)
    listed = sorted(zip(own, ids, images, strict=True), key=lambda one: split_order(one[0]))
    splits = tuple(dict.fromkeys(split for split, _, _ in listed))
    rows = (
        row
        for split, own_id, (_, path, labels) in listed
        for row in _rows(root, recipe, reader, split, path, labels, own_id)
    )
    return Source(recipe.name, (reader.category,), {}, splits, (recipe.licence,), len(images), rows)


def _rows(
    root: Path, recipe: Recipe, reader: LinesReader, split: str, path: Path, labels: str, image_id: str
) -> Iterator[RawRecord | Problem]:
    try:
        content, width, height = read_image(path, reader.window)
    except OSError as error:
        yield Problem(split, str(path), f"cannot be read: {error}")
        return
    regions: list[Region] = []
    count = 0
    for file in files_beside(root, labels, path):
        for number, line in enumerate(lines_of(file, keep_empty=True), start=1):
            count += 1  # over all files: ids of regions are unique
            if number <= reader.skip or not line.strip():
                continue
            try:
                x1, y1, x2, y2 = (float(value) for value in line.replace(",", " ").split()[:4])
            except ValueError:
                yield Problem(split, f"{file}: line {number}", f"{line.strip()[:40]!r}: not four numbers")
                continue
            regions.append(Region(f"{image_id}_{count}", (x1, y1, x2, y2), reader.category))
    record = ImageRecord(image_id, split, content, width, height, recipe.name, recipe.licence, (), tuple(regions))
    yield RawRecord(record, str(path))
