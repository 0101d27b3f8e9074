"""Flickr30k Entities: the phrases of captions and the boxes that they refer to.

``Sentences/ID.txt`` holds an image's captions, in which phrases are marked ``[/EN#4/people Two young men]``,
``Annotations/ID.xml`` the boxes by such a number, and ``train.txt``, ``val.txt`` and ``test.txt`` the images of each
split; images are in ``flickr30k-images`` or ``images``. A phrase with several boxes means a group of regions; one
without a box is left out. The category is the first of the phrase's types.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vilam.data.readers.images import read_image
from vilam.data.readers.source import Problem, RawRecord, Source, find_image, tidy
from vilam.data.recipes import Recipe
from vilam.data.records import Expression, Group, ImageRecord, Region
from vilam.errors import VilamError

SPLITS = ("train", "val", "test")
TYPES = ("animals", "bodyparts", "clothing", "instruments", "other", "people", "scene", "vehicles")
PHRASE = re.compile(r"\[/EN#(\d+)((?:/\w+)+) ([^\]]+)\]")
FOLDERS = ("flickr30k-images", "images", "flickr30k_images", ".")

Box = tuple[float, float, float, float]


def open_flickr(root: Path, recipe: Recipe) -> Source:
    """Read the lists of images; the images and their captions are read one by one as the rows are iterated."""
    lists = {split: root / f"{split}.txt" for split in SPLITS}
    missing = [str(path) for path in (*lists.values(), root / "Sentences", root / "Annotations") if not path.exists()]
    if missing:
        raise VilamError(f"{', '.join(missing)}: not found: set prepare.root to the folder of Flickr30k Entities")
    images = [(split, name) for split, path in lists.items() for name in path.read_text(encoding="utf-8").split()]
    rows = (row for split, name in images for row in _row(root, recipe, split, name))
    return Source(recipe.name, TYPES, {}, SPLITS, (recipe.licence,), len(images), rows)


def _row(root: Path, recipe: Recipe, split: str, name: str) -> Iterator[RawRecord | Problem]:
    captions_file = root / "Sentences" / f"{name}.txt"
    try:
        path = find_image(tuple(root / folder for folder in FOLDERS), f"{name}.jpg")
        if path is None:
            raise ValueError(f"image file {name}.jpg not found")
        content, width, height = read_image(path)
        sentences = captions_file.read_text(encoding="utf-8").splitlines()
        boxes = _boxes(root / "Annotations" / f"{name}.xml")
    except (OSError, ValueError, ET.ParseError) as error:
        yield Problem(split, str(captions_file), f"cannot be read: {error}")
        return
    captions = tuple(tidy(PHRASE.sub(r"\3", sentence)) for sentence in sentences if sentence.strip())
    regions, groups = _regions_and_groups(name, sentences, boxes)
    record = ImageRecord(name, split, content, width, height, recipe.name, recipe.licence, captions, regions, groups)
    yield RawRecord(record, str(captions_file))


def _boxes(path: Path) -> dict[str, list[Box]]:
    """Boxes by the number of their entity; as in Pascal VOC, pixels count from 1 and the last one is included."""
    boxes: dict[str, list[Box]] = defaultdict(list)
    for thing in ET.parse(path).iter("object"):
        corners = [thing.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
        if None not in corners:
            x1, y1, x2, y2 = (float(str(corner)) for corner in corners)
            for name in thing.iter("name"):
                boxes[str(name.text).strip()].append((x1 - 1, y1 - 1, x2, y2))
    return boxes


def _regions_and_groups(
    image: str, sentences: list[str], boxes: dict[str, list[Box]]
) -> tuple[tuple[Region, ...], tuple[Group, ...]]:
    """The regions with the phrases that mean one of them, and groups for the phrases that mean several."""
    regions: dict[str, Region] = {}
    groups: dict[tuple[str, str], Group] = {}
    for sentence in sentences:
        for number, types, words in PHRASE.findall(sentence):
            found = boxes.get(number, [])
            ids = tuple(f"{image}_{number}_{i}" if len(found) > 1 else f"{image}_{number}" for i in range(len(found)))
            for name, box in zip(ids, found, strict=True):
                regions.setdefault(name, Region(name, box, types.split("/")[1]))
            phrase = tidy(words)
            if len(ids) == 1:
                known = regions[ids[0]]
                expressions = tuple(dict.fromkeys([*known.expressions, Expression(phrase)]))
                regions[ids[0]] = replace(known, expressions=expressions)
            elif ids:
                groups.setdefault((number, phrase), Group(f"{image}_{number}_{phrase}", phrase, ids))
    return tuple(regions.values()), tuple(groups.values())
