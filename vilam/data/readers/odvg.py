"""ODVG: the JSON Lines of MM-Grounding-DINO and Open-GroundingDINO, a picture in each row; boxes are xyxy in pixels.

    {"filename": "a.jpg", "height": 96, "width": 128, "detection": {"instances": [{"bbox": [..], "label": 0}]}}
    {..., "grounding": {"caption": "a fox and two owls", "regions": [{"bbox": [..], "phrase": "a fox"}]}}
    {..., "referring": [{"bbox": [..], "phrase": ["the left fox", "fox on the left"]}]}

The names of labels are in a file of their own, ``{"0": "fox"}``, which trainers go by; without it, an instance's
``category`` is its name. A region of ``grounding`` has one box or a list of them; its phrase may be a list of the
phrase's parts, whereas the list of ``referring`` holds several expressions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from vilam.data.readers.formats import Format, Found
from vilam.data.readers.gathering import Draft, Gathering, as_box
from vilam.data.readers.items import source_of
from vilam.data.readers.row_files import Row, annotation_files, head_rows, read_rows, recognised, row_files
from vilam.data.readers.source import Problem, Source
from vilam.data.recipes import FormatReader, Recipe

PARTS = ("detection", "grounding", "referring")


def recognises(root: Path) -> Found | None:
    """Rows with a file name and one of ODVG's parts."""
    return recognised(root, "odvg", "ODVG (MM-Grounding-DINO, Open-GroundingDINO)", _is_own)


def open_odvg(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read all rows and the names of labels; the images are read one by one as the rows are iterated."""
    files = annotation_files(root, reader, _is_own)
    names = _label_map(root)
    gathering = Gathering(root, reader)
    for split, path in files:
        for location, row in read_rows(path):
            if isinstance(row, Problem):
                gathering.problem(split, location, row.message)
                continue
            try:
                draft = gathering.picture(path, split, row.get("filename"), location)
                draft.size = _size(row)
            except (ValueError, OverflowError) as error:
                gathering.problem(split, location, str(error))
                continue
            for message in _parts(draft, row, names):
                gathering.problem(split, location, message)
    return source_of(gathering.listing(names.values()), recipe, reader.together, reader.window)


def _is_own(row: Row) -> bool:
    return isinstance(row.get("filename"), str) and any(isinstance(row.get(part), dict | list) for part in PARTS)


def _label_map(root: Path) -> dict[str, str]:
    """The names of labels, from all files that hold nothing but names by number."""
    names: dict[str, str] = {}
    for path in row_files(root):
        row = next(head_rows(path), {})
        if row and all(key.isdigit() and isinstance(name, str) for key, name in row.items()):
            names.update(row)
    return names


def _size(row: Row) -> tuple[int, int] | None:
    width, height = row.get("width"), row.get("height")
    return (int(width), int(height)) if isinstance(width, int | float) and isinstance(height, int | float) else None


def _parts(draft: Draft, row: Row, names: Mapping[str, str]) -> Iterator[str]:
    """Add the objects of a row; yields what is left out."""
    detection, grounding = row.get("detection"), row.get("grounding")
    if isinstance(detection, dict):
        draft.marked = None
        yield from _detection(draft, detection.get("instances"), names)
    if isinstance(grounding, dict):
        caption = grounding.get("caption")
        if isinstance(caption, str) and not _is_list(caption, grounding):
            draft.captions.append(caption)
        yield from _grounding(draft, grounding)
    yield from _referring(draft, row.get("referring"))


def _detection(draft: Draft, instances: object, names: Mapping[str, str]) -> Iterator[str]:
    for number, one in enumerate(_objects(instances), start=1):
        try:
            label = str(one.get("label"))
            category = names.get(label) or one.get("category")
            if not isinstance(category, str) or not category.strip():
                raise ValueError(f"label {label} has no name: put label_map.json beside the rows")
            draft.add(as_box(one.get("bbox")), category, location=f"instance {number}")
        except ValueError as error:
            draft.marked = set()
            yield f"instance {number}: {error}"


def _grounding(draft: Draft, grounding: Row) -> Iterator[str]:
    said: dict[str, list[int]] = {}
    for number, one in enumerate(_objects(grounding.get("regions")), start=1):
        numbers = said.setdefault(_phrase(one, grounding.get("caption")), [])
        for box in _boxes(one.get("bbox")):
            try:
                numbers.append(draft.add(as_box(box), location=f"region {number}"))
            except ValueError as error:
                yield f"region {number}: {error}"
    for text, numbers in said.items():
        if text and numbers:
            draft.say(text, numbers)


def _is_list(caption: str, grounding: Row) -> bool:
    """Whether a caption is no sentence, but the phrases one after the other, parted by dots, or empty."""
    phrases = {_phrase(one, None) for one in _objects(grounding.get("regions"))}
    return {part.strip() for part in caption.strip(" .").split(" . ")} <= {*phrases, ""}


def _phrase(region: Row, caption: object) -> str:
    """The words of a region: its phrase, or else the part of the caption that it names by its characters."""
    phrase, spans = region.get("phrase"), region.get("tokens_positive")
    if isinstance(phrase, list):
        return " ".join(str(part) for part in phrase)
    if isinstance(phrase, str) and phrase.strip():
        return phrase
    if isinstance(caption, str) and isinstance(spans, list):
        pairs = [span for span in spans if isinstance(span, list) and len(span) == 2]
        return " ".join(caption[start:end] for start, end in pairs if isinstance(start, int) and isinstance(end, int))
    return ""


def _referring(draft: Draft, referring: object) -> Iterator[str]:
    for number, one in enumerate(_objects(referring), start=1):
        phrases = one.get("phrase")
        try:
            numbers = [draft.add(as_box(box), location=f"reference {number}") for box in _boxes(one.get("bbox"))]
        except ValueError as error:
            yield f"reference {number}: {error}"
            continue
        for text in phrases if isinstance(phrases, list) else [phrases]:
            draft.say(str(text or ""), numbers)


def _boxes(bbox: object) -> list[object]:
    """One box, or a list of them."""
    if isinstance(bbox, list) and bbox and all(isinstance(one, list) for one in bbox):
        return bbox
    return [bbox]


def _objects(listed: object) -> Iterable[Row]:
    return (one for one in listed if isinstance(one, dict)) if isinstance(listed, list) else ()


FORMAT = Format(
    "odvg",
    "ODVG (MM-Grounding-DINO, Open-GroundingDINO)",
    "*.jsonl with filename and detection, grounding or referring; label_map.json; the images below",
    "boxes, categories, phrases and expressions (of one or several objects), captions",
    "which words of the caption a phrase is, if the phrase is told",
    recognises,
    open_odvg,
)
