"""Conversations about pictures with boxes in the text, as Qwen-VL, LLaVA, InternVL, Shikra and others are tuned with.

Which words mean which boxes is told in vilam/data/readers/dialogues.py, how rows are written in chats.py beside it, and
what the numbers count in units.py. Labels of JSON answers are categories, unless they repeat the question; all other
words are expressions of one object, or of several or none. Pictures of rows without boxes are left out: nobody knows
which objects they show.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from vilam.data.readers import kosmos
from vilam.data.readers.chats import Turn, images_of, turns_of
from vilam.data.readers.dialogues import BOX, BOX_KEYS, Mention, mentions
from vilam.data.readers.formats import Format, Found
from vilam.data.readers.gathering import Draft, Gathering, Key, are_names
from vilam.data.readers.images import size_of
from vilam.data.readers.items import source_of
from vilam.data.readers.kept import IN_MEMORY, KeptList
from vilam.data.readers.row_files import Row, annotation_files, read_rows, recognised
from vilam.data.readers.source import OBJECT, Problem, Source
from vilam.data.readers.units import Size, scaled, unit_of
from vilam.data.recipes import FormatReader, Recipe
from vilam.geometry.boxes import Box

logger = logging.getLogger(__name__)

MARKS = ("<box>", "<|box_start|>")
UNITS = {"{<": "hundredths", kosmos.MARK: "fractions"}
"""Notations that tell what their numbers count."""

Chat = tuple[Key, list[Mention], str]
"""The key of a picture, what is said about it, and the location."""


def recognises(root: Path) -> Found | None:
    """Chats about images that have boxes in their text."""
    return recognised(root, "conversations", "Conversations with boxes in the text (Qwen-VL, LLaVA)", is_chat)


def open_conversations(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read all rows; the images are read one by one as the rows are iterated.

    Raises VilamError if it cannot be told what the numbers count.
    """
    gathering, chats, notations = _read(root, reader)
    boxes = KeptList((gathering.again(key).image, box) for key, found, _ in chats for one in found for box in one.boxes)
    unit: str = reader.coordinates or next((one for mark, one in UNITS.items() if mark in notations), "")
    if kosmos.MARK in notations:
        logger.warning("%s: boxes are of a grid of 32 x 32 patches: each is off by a 64th of a side at most", root)
    sizes = lru_cache(IN_MEMORY)(size_of)
    if not unit and len(boxes):
        unit = unit_of(boxes, bool(notations.intersection(MARKS)), sizes, root)
    as_categories = are_categories(one for _, found, _ in chats for one in found)
    for key, found, location in chats:
        draft = gathering.again(key)
        for one in found:
            scaled_boxes = [_scaled(box, unit, sizes(draft.image)) for box in one.boxes]
            add_mention(draft, one, scaled_boxes, as_categories, location)
    return source_of(gathering.listing(), recipe, reader.together, reader.window)


def is_chat(row: Row) -> bool:
    """Whether a row is a chat about an image with a box in its text."""
    turns = turns_of(row)
    return any(_has_box(text) for _, text in turns) and not row.get("objects") and bool(images_of(row))


def are_categories(found: Iterable[Mention]) -> bool:
    """Whether the labels of JSON answers are the names of categories."""
    return are_names(Counter(str(one.text) for one in found if one.is_label for _ in one.boxes))


def add_mention(draft: Draft, one: Mention, boxes: Sequence[Box], as_categories: bool, location: str) -> None:
    """Add objects of a picture with the words that mean them; ``as_categories``: whether labels are categories."""
    category = one.text if one.is_label and as_categories else None
    numbers = [draft.add(box, category or OBJECT, location=location) for box in boxes]
    if one.text and not category:
        draft.say(one.text, numbers)


def _read(root: Path, reader: FormatReader) -> tuple[Gathering, KeptList[Chat], set[str]]:
    """All rows with boxes, and the notations that they use."""
    gathering, chats = Gathering(root, reader), KeptList[Chat]()
    without, notations = 0, set[str]()
    for split, path in annotation_files(root, reader, is_chat):
        for location, row in read_rows(path):
            if isinstance(row, Problem):
                gathering.problem(split, location, row.message)
                continue
            turns, images = turns_of(row), images_of(row)
            found = mentions([(role, kosmos.without_patches(text)) for role, text in turns])
            if not found:
                without += 1
                continue
            notations |= _notations(turns)
            try:
                if len(images) > 1:
                    raise ValueError(f"{len(images)} images: in which of them boxes are is not told")
                picture = gathering.picture(path, split, next(iter(images), None), location)
                chats.append((picture.key, found, location))
            except ValueError as error:
                gathering.problem(split, location, str(error))
    if without:
        logger.info("%s: %d rows without boxes are left out", root, without)
    return gathering, chats, notations


def _has_box(text: str) -> bool:
    return BOX.search(text) is not None or kosmos.MARK in text or any(f'"{key}"' in text for key in BOX_KEYS)


def _notations(turns: Iterable[Turn]) -> set[str]:
    return {mark for mark in (*MARKS, *UNITS) for _, text in turns if mark in text}


def _scaled(box: Box, unit: str, size: Size | None) -> Box:
    """The box in pixels of its picture; unchanged if the picture cannot be read, which is told when it is."""
    return box if size is None else scaled(box, unit, size)


FORMAT = Format(
    "conversations",
    "Conversations with boxes in the text (Qwen-VL, LLaVA, Kosmos-2)",
    "*.json or *.jsonl with messages or conversations and image or images; the images below",
    "boxes, expressions (of one or several objects, or of none), labels of JSON answers as categories",
    "the rest of what is said; points; pictures that nobody asks for boxes in",
    recognises,
    open_conversations,
    exhaustive=False,
)
