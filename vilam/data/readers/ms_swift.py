"""ms-swift's grounding rows: a chat with ``<ref-object>`` and ``<bbox>``, which ``objects`` fills in order.

    {"messages": [{"role": "user", "content": "<image>Find <ref-object>"}, {"role": "assistant", "content": "<bbox>"}],
     "images": ["a.jpg"], "objects": {"ref": ["a fox"], "bbox": [[9.0, 57.0, 29.0, 90.0]], "bbox_type": "real"}}

The two kinds of places are filled independently of each other. Boxes are pixels of the image file (``real``), fractions
(``norm1``) or thousandths (``norm1000``) of its sides; ``image_id`` says in which image each of them is. ms-swift 2
wrote ``objects`` as a list, or as text, of ``{"caption": .., "bbox": .., "bbox_type": "norm_1000", "image": 0}``. A row
with ``objects`` is a picture, also if there are none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from vilam.data.readers.chats import Turn, images_of, turns_of
from vilam.data.readers.conversations import add_mention, are_categories
from vilam.data.readers.dialogues import Mention, mentions
from vilam.data.readers.formats import CLEAR, Format, Found
from vilam.data.readers.gathering import Gathering, Key, as_box
from vilam.data.readers.items import source_of
from vilam.data.readers.kept import KeptList
from vilam.data.readers.row_files import Row, annotation_files, read_rows, recognised
from vilam.data.readers.source import Problem, Source
from vilam.data.recipes import FormatReader, Recipe
from vilam.geometry.boxes import Box

PLACE = re.compile("<ref-object>|<bbox>")
WHOLES: Mapping[str, float | None] = {"real": None, "norm1": 1.0, "norm1000": 1000.0}
NUMBERED = -7.0
"""Stands beside the number of a box where a place is filled, so that it is no box that somebody wrote."""


@dataclass(frozen=True, slots=True)
class _Object:
    """A box of a row: the image in which it is, and what its numbers count."""

    box: Box
    image: int
    whole: float | None


@dataclass(frozen=True, slots=True)
class _Chat:
    """A row: the keys of its pictures, its boxes, and what is said about them."""

    pictures: Sequence[Key]
    objects: Sequence[_Object]
    said: Sequence[Mention]
    location: str


def recognises(root: Path) -> Found | None:
    """Chats about images with objects."""
    found = recognised(root, "ms_swift", "ms-swift grounding rows", _is_own)
    return found and Found(found.title, found.reader, found.root, CLEAR)


def open_ms_swift(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read all rows; the images are read one by one as the rows are iterated."""
    gathering = Gathering(root, reader)
    chats = KeptList(_read(root, reader, gathering))
    as_categories = are_categories(one for chat in chats for one in chat.said)
    for chat in chats:
        try:
            _add(chat, gathering, as_categories)
        except ValueError as error:
            gathering.problem(chat.pictures[0][0], chat.location, str(error))
    return source_of(gathering.listing(), recipe, reader.together, reader.window)


def _is_own(row: Row) -> bool:
    return bool(turns_of(row)) and bool(images_of(row)) and _columns(row) is not None


def _read(root: Path, reader: FormatReader, gathering: Gathering) -> Iterator[_Chat]:
    for split, path in annotation_files(root, reader, _is_own):
        for location, row in read_rows(path):
            if isinstance(row, Problem):
                gathering.problem(split, location, row.message)
                continue
            columns = _columns(row)
            if columns is None:
                continue
            try:
                pictures = [gathering.picture(path, split, name, location).key for name in images_of(row)]
                if not pictures:
                    raise ValueError("no image is named")
                objects, places, lost = _objects(columns, len(pictures))
                said = mentions(_filled(turns_of(row), columns["ref"], places))
                yield _Chat(pictures, objects, said, location)
            except ValueError as error:
                gathering.problem(split, location, str(error))
                continue
            for message in lost:
                gathering.problem(split, location, message)


def _columns(row: Row) -> dict[str, list[Any]] | None:
    """The lists ref, bbox, bbox_type and image_id of a row's objects; None if it has none."""
    objects = row.get("objects")
    if isinstance(objects, str):
        try:
            objects = json.loads(objects)
        except (ValueError, RecursionError):
            return None
    if isinstance(objects, list):
        rows = [one for one in objects if isinstance(one, dict)]
        names = {"ref": "caption", "bbox": "bbox", "bbox_type": "bbox_type", "image_id": "image"}
        return {column: [one.get(name) for one in rows] for column, name in names.items()}
    if not isinstance(objects, dict) or not isinstance(objects.get("bbox"), list):
        return None
    refs, images = objects.get("ref"), objects.get("image_id")
    return {
        "ref": refs if isinstance(refs, list) else [],
        "bbox": objects["bbox"],
        "bbox_type": [objects.get("bbox_type")] * len(objects["bbox"]),
        "image_id": images if isinstance(images, list) else [],
    }


def _objects(columns: Mapping[str, list[Any]], num_images: int) -> tuple[list[_Object], list[Sequence[int]], list[str]]:
    """The boxes, their numbers for each place, and what is left out."""
    objects: list[_Object] = []
    places: list[Sequence[int]] = []
    lost: list[str] = []
    images = chain(columns["image_id"], repeat(0))
    for entry, kind, image in zip(columns["bbox"], columns["bbox_type"], images, strict=False):
        nested = isinstance(entry, list) and bool(entry) and isinstance(entry[0], list)
        first = len(objects)
        for values in entry if nested else [entry]:
            try:
                objects.append(_Object(as_box(values), _image(image, num_images), _whole(kind)))
            except ValueError as error:
                lost.append(str(error))
        places.append(range(first, len(objects)))
    return objects, places, lost


def _image(number: Any, num_images: int) -> int:
    index = 0 if number is None else number
    if not isinstance(index, int) or not 0 <= index < num_images:
        raise ValueError(f"a box in image {number}, of {num_images}")
    return index


def _whole(kind: Any) -> float | None:
    name = str(kind or "real").replace("_", "")
    if name not in WHOLES:
        raise ValueError(f"a box of bbox_type {kind}: expected {', '.join(WHOLES)}")
    return WHOLES[name]


def _filled(turns: Sequence[Turn], refs: Sequence[Any], places: Sequence[Sequence[int]]) -> list[Turn]:
    """The chat with its words, and with the numbers of its boxes, in their places."""
    words, boxes = iter(refs), iter(places)

    def fill(match: re.Match[str]) -> str:
        if match[0] == "<bbox>":
            return ", ".join(f"[{one}, {NUMBERED}, {one}, {NUMBERED}]" for one in next(boxes, ()))
        return f"<ref>{next(words, '')}</ref>"

    return [(role, PLACE.sub(fill, text)) for role, text in turns]


def _add(chat: _Chat, gathering: Gathering, as_categories: bool) -> None:
    """Add the objects of a row to its pictures; raises ValueError if a picture has boxes that count otherwise."""
    drafts = [gathering.again(key) for key in chat.pictures]
    for one in chat.objects:
        draft = drafts[one.image]
        if draft.whole != one.whole and any(draft.categories):
            raise ValueError("boxes of another bbox_type than in the row before of the same image")
        draft.whole = one.whole
    for mention in chat.said:
        numbers = [box[0] for box in mention.boxes if box[1] == NUMBERED]
        objects = [chat.objects[int(number)] for number in numbers if 0 <= number < len(chat.objects)]
        for image in dict.fromkeys(one.image for one in objects) or ((0,) if mention.text else ()):
            own = [one.box for one in objects if one.image == image]
            add_mention(drafts[image], mention, own, as_categories, chat.location)
    for one in chat.objects:
        drafts[one.image].add(one.box, location=chat.location)


FORMAT = Format(
    "ms_swift",
    "ms-swift grounding rows",
    "*.jsonl or *.json with messages, images and objects (ref, bbox, bbox_type); the images below",
    "boxes, expressions (of one or several objects, or of none), labels of JSON answers as categories",
    "the rest of what is said; points",
    recognises,
    open_ms_swift,
    exhaustive=False,
)
