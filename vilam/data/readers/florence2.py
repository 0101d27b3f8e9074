"""Florence-2's rows: ``{"image": "a.jpg", "prefix": "<OD>", "suffix": "fox<loc_10><loc_20><loc_300><loc_400>"}``.

Tokens are x before y, in thousandths of the picture's sides. A token is the whole number below a coordinate, so that
half of one is added, as Florence-2's own processor does. The prefix names the task:

- ``<OD>`` and ``<OPEN_VOCABULARY_DETECTION>``: the names before boxes are categories;
- ``<CAPTION_TO_PHRASE_GROUNDING>``, ``<DENSE_REGION_CAPTION>``: they are words, which mean all boxes that follow;
- ``<REFERRING_EXPRESSION_SEGMENTATION>``: the words are in the prefix, the answer is an outline, parts by ``<sep>``;
- ``<REGION_TO_DESCRIPTION>``, ``<REGION_TO_CATEGORY>``, ``<REGION_TO_SEGMENTATION>``: the box is in the prefix;
- ``<CAPTION>``, ``<DETAILED_CAPTION>``, ``<MORE_DETAILED_CAPTION>``: the answer is a caption.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vilam.data.readers.formats import Format, Found
from vilam.data.readers.gathering import Draft
from vilam.data.readers.items import source_of
from vilam.data.readers.pairs import pair_of, read_pairs
from vilam.data.readers.row_files import Row, recognised
from vilam.data.readers.source import OBJECT, Source
from vilam.data.recipes import FormatReader, Recipe
from vilam.data.records import Polygon
from vilam.geometry.boxes import Box

WHOLE = 1000
TASK = re.compile(r"^\s*<([A-Z_]+)>(.*)$", re.DOTALL)
RUN = re.compile(r"((?:<loc_\d+>)+)")
NUMBER = re.compile(r"<loc_(\d+)>")
MARKS = re.compile(r"</?(?:s|pad|poly|od|eos)>")
DETECTION = ("OD", "OPEN_VOCABULARY_DETECTION")
WORDS = ("CAPTION_TO_PHRASE_GROUNDING", "DENSE_REGION_CAPTION", "REGION_PROPOSAL")
OF_A_BOX = ("REGION_TO_DESCRIPTION", "REGION_TO_CATEGORY", "REGION_TO_SEGMENTATION")
OUTLINE = "REFERRING_EXPRESSION_SEGMENTATION"
CAPTIONS = ("CAPTION", "DETAILED_CAPTION", "MORE_DETAILED_CAPTION")
READ = (*DETECTION, *WORDS, *OF_A_BOX, OUTLINE, *CAPTIONS)


def recognises(root: Path) -> Found | None:
    """Rows whose questions or answers have Florence-2's tokens."""
    return recognised(root, "florence2", "Florence-2 JSONL", _is_own)


def open_florence2(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read all rows; the images are read one by one as the rows are iterated."""
    gathering, pairs = read_pairs(root, reader, _is_own, _matters)
    for key, prefix, suffix, location in pairs:
        draft = gathering.again(key)
        draft.whole = WHOLE
        task, words = _task(prefix)
        answer = MARKS.sub("", suffix).strip()
        try:
            _add(draft, task, words, answer)
        except ValueError as error:
            gathering.problem(draft.split, location, str(error))
    return source_of(gathering.listing(), recipe, reader.together, reader.window)


def _is_own(row: Row) -> bool:
    pair = pair_of(row)
    return pair is not None and any(NUMBER.search(text) for text in pair)


def _matters(prefix: str, suffix: str) -> bool:
    return _task(prefix)[0] in READ


def _task(prefix: str) -> tuple[str, str]:
    """The task of a question, and the rest of it; a question without a task is one for an expression."""
    found = TASK.match(prefix)
    return (found[1], found[2].strip()) if found else ("CAPTION_TO_PHRASE_GROUNDING", prefix.strip())


def _add(draft: Draft, task: str, words: str, answer: str) -> None:
    """Add what a row says; raises ValueError if its tokens are no boxes."""
    if task in CAPTIONS:
        draft.captions.append(answer)
    elif task in DETECTION:
        for name, boxes in _named_boxes(answer):
            for box in boxes:
                draft.add(box, name or words or OBJECT)
        draft.marked = None if task == "OD" else draft.marked
    elif task in WORDS:
        for name, boxes in _named_boxes(answer):
            draft.say(name or ("" if task == "REGION_PROPOSAL" else words), [draft.add(box) for box in boxes])
    elif task == OUTLINE:
        draft.say(words, [draft.add(None, polygons=_rings(answer))])
    else:
        (box,) = _boxes(words)
        if task == "REGION_TO_SEGMENTATION":
            draft.add(box, polygons=_rings(answer))
        elif task == "REGION_TO_CATEGORY":
            draft.add(box, NUMBER.sub("", answer).strip() or OBJECT)
        else:
            draft.say(NUMBER.sub("", answer), [draft.add(box)])


def _named_boxes(answer: str) -> Iterator[tuple[str, list[Box]]]:
    """Boxes with the name before them, or with the one behind them if the answer begins with a box."""
    parts = RUN.split(answer)  # texts and runs of tokens in turns
    names = [text.strip() for text in parts[::2]]
    first = 1 if not names[0] and names[-1] else 0
    for name, tokens in zip(names[first:], parts[1::2], strict=False):
        yield name, _boxes(tokens)


def _boxes(tokens: str) -> list[Box]:
    values = _values(tokens)
    if not values or len(values) % 4:
        raise ValueError(f"{len(values)} <loc> tokens: expected four for each box")
    return [(values[i], values[i + 1], values[i + 2], values[i + 3]) for i in range(0, len(values), 4)]


def _rings(answer: str) -> tuple[Polygon, ...]:
    """The outlines of an answer."""
    rings = []
    for part in answer.split("<sep>"):
        values = _values(part)
        if len(values) < 6 or len(values) % 2:
            raise ValueError(f"{len(values)} <loc> tokens: expected two for each point of an outline")
        rings.append(tuple(zip(values[::2], values[1::2], strict=True)))
    return tuple(rings)


def _values(tokens: str) -> list[float]:
    return [float(number) + 0.5 for number in NUMBER.findall(tokens)]


FORMAT = Format(
    "florence2",
    "Florence-2 JSONL",
    "*.jsonl with image, prefix (<OD>) and suffix (<loc_0> tokens), such as train/annotations.jsonl",
    "boxes, categories, outlines, expressions of one or several objects, captions, splits",
    "text in pictures (<OCR_WITH_REGION>); answers to other questions",
    recognises,
    open_florence2,
)
