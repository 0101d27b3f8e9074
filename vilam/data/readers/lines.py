"""Images and text files beside them, with one box in each line: x1 y1 x2 y2 in pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vilam.data.readers.images import read_image
from vilam.data.readers.source import Problem, RawRecord, Source, files_beside, group_of, split_of, split_order
from vilam.data.recipes import LinesReader, Recipe
from vilam.data.records import ImageRecord, Region
from vilam.errors import VilamError


def open_lines(root: Path, recipe: Recipe, reader: LinesReader) -> Source:
    """List the images; they are read one by one as the rows are iterated."""
    images = [
        (split_of(group_of(path.relative_to(root).as_posix(), reader.together), split), path, reader.labels[split])
        for split, pattern in reader.images.items()
        for path in sorted(root.glob(pattern))
    ]
    if not images:
        raise VilamError(f"{root}: no images {', '.join(reader.images.values())}: check prepare.root")
    images.sort(key=lambda image: split_order(image[0]))
    splits = tuple(dict.fromkeys(split for split, _, _ in images))
    rows = (row for image in images for row in _rows(root, recipe, reader, *image))
    return Source(recipe.name, (reader.category,), {}, splits, (recipe.licence,), len(images), rows)


def _rows(
    root: Path, recipe: Recipe, reader: LinesReader, split: str, path: Path, labels: str
) -> Iterator[RawRecord | Problem]:
    try:
        content, width, height = read_image(path, reader.window)
    except OSError as error:
        yield Problem(split, str(path), f"cannot be read: {error}")
        return
    image_id = path.relative_to(root).with_suffix("").as_posix()
    regions: list[Region] = []
    count = 0
    for file in files_beside(root, labels, path):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
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
