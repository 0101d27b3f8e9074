"""The file formats in which RefCOCO's expressions are distributed, all read as the same rows.

- flat: ``refcoco_val.json``, a list of ``{img_id, sents, bbox, height, width}``;
- lines: ``refs.jsonl``, an expression in each line, perhaps with the COCO annotation of its region;
- refer: the folders of the `refer` release, ``refcoco/refs(unc).p`` and ``instances.json`` beside it;
- gRefCOCO: ``grefcoco/grefs(unc).json`` and ``instances.json``; its expressions mean several regions, one or none;
- MDETR: ``finetune_refcoco_val.json``, COCO's lists in which an image is an expression, its caption;
- Parquet (lmms-lab): ``data/testA-*.parquet``, a row for each region, with its image and all of its expressions.

Boxes are xywh in pixels of the original image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vilam.data.readers.coco_files import read_file
from vilam.data.readers.paths import lines_of, open_text
from vilam.data.readers.pickles import read_pickle
from vilam.data.readers.refcoco_parquet import parquet_files, parquet_rows, parquet_set
from vilam.data.readers.source import Problem, read_json, tidy
from vilam.errors import VilamError
from vilam.geometry.boxes import Box

Row = dict[str, Any]

SET_NAMES = {
    "refcoco": "refcoco",
    "refcoco+": "refcoco_plus",
    "refcocog": "refcocog_umd",
    "refcocog_google": "refcocog_google",
    "grefcoco": "grefcoco",
}
"""The name of each set in names of splits; refcocog is divided into splits in two ways."""
REFER = {
    "refcoco/refs(unc).p": "refcoco",
    "refcoco+/refs(unc).p": "refcoco+",
    "refcocog/refs(umd).p": "refcocog",
    "refcocog/refs(google).p": "refcocog_google",
}
"""The files of the `refer` release and their sets."""
GREFCOCO = "grefcoco/grefs(unc).json"
LINES = "refs.jsonl"
FLAT_PATTERN, MDETR_PATTERN = "refcoco*_*.json", "finetune_refcoco*_*.json"
HEAD = 4096
"""Bytes of a file that are looked at to recognise its format."""
ERRORS = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)
"""What reading a row that is none may raise."""
NO_CATEGORY = "object"
"""MDETR's category of everything."""
MDETR = re.compile(r"finetune_(refcoco[+g]?)_(train|val|test[AB]?)")


@dataclass(frozen=True, slots=True)
class _Row:
    """The source of an expression. dataset: a value of SET_NAMES. name: the image's file.

    size: width and height of the original image; None if they are the file's. content: reads the file, if the format
    holds it.
    """

    dataset: str
    split: str
    location: str
    name: str
    size: tuple[int, int] | None
    content: Callable[[], bytes] | None


@dataclass(frozen=True, slots=True)
class ExpressionRow(_Row):
    """One expression of one region. annotation: COCO's, if the format holds it."""

    ref: str
    box_xywh: Box
    text: str
    annotation: Row | None = None


@dataclass(frozen=True, slots=True)
class GroupRow(_Row):
    """One expression that means any number of regions. members: name, box and annotation of each."""

    group: str
    text: str
    members: tuple[tuple[str, Box, Row], ...]


def read_rows(root: Path) -> Iterator[ExpressionRow | GroupRow | Problem]:
    """Every expression under a root, in all formats that are there; what cannot be read is a problem."""
    if (root / LINES).is_file():
        yield from _lines(root / LINES)
    for path in _found(root, FLAT_PATTERN):
        yield from _flat(path)
    for path in _found(root, MDETR_PATTERN):
        yield from _mdetr(path)
    for name, dataset in REFER.items():
        if (root / name).is_file():
            yield from _refer(root / name, dataset)
    if (root / GREFCOCO).is_file():
        yield from _grefcoco(root / GREFCOCO)
    for path in parquet_files(root):
        yield from _parquet(root, path)


def sets_in(root: Path) -> set[str]:
    """The sets of which there are files, seen without reading them whole."""
    found = {SET_NAMES[dataset] for name, dataset in REFER.items() if (root / name).is_file()}
    found |= {"grefcoco"} if (root / GREFCOCO).is_file() else set()
    found |= {_of_stem(path.stem)[0] for path in _found(root, FLAT_PATTERN) if '"sents"' in _head(path)}
    for path in _found(root, MDETR_PATTERN):
        named = MDETR.fullmatch(path.stem)
        found |= {SET_NAMES[named[1]]} if named else set()
    found |= {SET_NAMES[parquet_set(root)]} if parquet_files(root) else set()
    if (root / LINES).is_file() and '"bbox_xywh_original_pixels"' in _head(root / LINES):
        text = open_text(root / LINES).read()
        found |= {_of_stem(name)[0] for name in set(re.findall(r'"split": ?"([^"]+)"', text))}
    return found


def by_id(rows: Iterable[Row]) -> dict[str, Row]:
    """Rows by their id as text."""
    return {str(row.get("id")): row for row in rows}


def _found(root: Path, pattern: str) -> list[Path]:
    """Files in a root, or in a folder in it."""
    return sorted(root.glob(pattern)) or sorted(root.glob(f"*/{pattern}"))


def _head(path: Path) -> str:
    with path.open("rb") as stream:
        return stream.read(HEAD).decode("utf-8", errors="replace")


def _set_and_split(dataset: str, part: str) -> tuple[str, str]:
    """``refcoco+``, ``testA`` -> ``refcoco_plus``, ``refcoco_plus_testA``; train is train for every set."""
    name = SET_NAMES.get(dataset, re.sub(r"\W", "_", dataset))
    return name, "train" if part == "train" else re.sub(r"\W", "_", f"{name}_{part}")


def _of_stem(name: str) -> tuple[str, str]:
    dataset, _, part = name.rpartition("_")
    return _set_and_split(dataset, part)


def _lines(path: Path) -> Iterator[ExpressionRow | Problem]:
    for number, line in enumerate(lines_of(path, keep_empty=True), start=1):
        if not line:
            continue
        split, location = "train", f"{path}: line {number}"
        try:
            row = dict(json.loads(line))
            dataset, split = _of_stem(str(row.get("split")))
            size = int(row["original_width"]), int(row["original_height"])
            box, words = _box(row["bbox_xywh_original_pixels"]), tidy(row["expression"])
            known = row if "category" in row else None
            yield ExpressionRow(
                dataset, split, location, Path(row["image"]).name, size, None, str(row["ref"]), box, words, known
            )
        except ERRORS as error:
            yield Problem(split, location, f"cannot be read: {error!r}")


def _flat(path: Path) -> Iterator[ExpressionRow | Problem]:
    dataset, split = _of_stem(path.stem)
    for number, row in enumerate(_list(path, read_json(path)), start=1):
        location = f"{path}: row {number}"
        try:
            name = f"{row['img_id'].rpartition('_')[0]}.jpg"
            size = int(row["width"]), int(row["height"])
            yield ExpressionRow(
                dataset, split, location, name, size, None, row["img_id"], _box(row["bbox"]), tidy(row["sents"])
            )
        except ERRORS as error:
            yield Problem(split, location, f"cannot be read: {error!r}")


def _mdetr(path: Path) -> Iterator[ExpressionRow | Problem]:
    named = MDETR.fullmatch(path.stem)
    if named is None:
        raise VilamError(f"{path}: not named as MDETR's files are: finetune_refcoco_val.json")
    dataset, split = _set_and_split(named[1], named[2])
    content = read_file(path)
    boxes = {str(one["image_id"]): one for one in content["annotations"]}
    names = by_id(content["categories"])
    for number, row in enumerate(content["images"], start=1):
        location = f"{path}: image {number}"
        try:
            one, name = boxes[str(row["id"])], Path(row["file_name"]).name
            box = _box(one["bbox"])
            ref = str(one.get("original_id") or f"{name}_{box}")
            size = int(row["width"]), int(row["height"])
            category = names.get(str(one.get("category_id")), {}).get("name", NO_CATEGORY)
            known = None if category == NO_CATEGORY else {"category": category}
            yield ExpressionRow(dataset, split, location, name, size, None, ref, box, tidy(row["caption"]), known)
        except ERRORS as error:
            yield Problem(split, location, f"cannot be read: {error!r}")


def _grefcoco(path: Path) -> Iterator[GroupRow | Problem]:
    """An expression that means no region has the annotation -1, or none."""
    images, annotations = _instances(path)
    for number, ref in enumerate(_list(path, read_json(path)), start=1):
        split, location = "train", f"{path}: reference {number}"
        try:
            own, split = _set_and_split("grefcoco", str(ref["split"]))
            image = images[str(ref["image_id"])]
            size, name = (int(image["width"]), int(image["height"])), Path(image["file_name"]).name
            ids = [one for one in ref["ann_id"] if one != -1]
            members = tuple((str(one), _box(annotations[str(one)]["bbox"]), annotations[str(one)]) for one in ids)
            for sentence in ref["sentences"]:
                group = f"{ref['ref_id']}_{sentence['sent_id']}"
                yield GroupRow(own, split, location, name, size, None, group, tidy(sentence["sent"]), members)
        except ERRORS as error:
            yield Problem(split, location, f"cannot be read: {error!r}")


def _instances(path: Path) -> tuple[dict[str, Row], dict[str, Row]]:
    """Images and annotations by id, from the ``instances.json`` beside a file; annotations with their category."""
    content = read_file(path.with_name("instances.json"))
    names = {number: str(one["name"]) for number, one in by_id(content["categories"]).items()}
    known = [one for one in content["annotations"] if str(one.get("category_id")) in names]
    return by_id(content["images"]), by_id({**one, "category": names[str(one["category_id"])]} for one in known)


def _list(path: Path, content: object) -> list[Any]:
    if not isinstance(content, list):
        raise VilamError(f"{path}: expected a list of references, found {type(content).__name__}")
    return content


def _parquet(root: Path, path: Path) -> Iterator[ExpressionRow | Problem]:
    dataset, split = _set_and_split(parquet_set(root), path.name.partition("-")[0])
    for number, row in enumerate(parquet_rows(path), start=1):
        location = f"{path}: row {number}"
        try:
            name = re.sub(r"_\d+(?=\.\w+$)", "", str(row["file_name"]))
            ref, box, content = str(row["question_id"]), _box(row["bbox"]), row["content"]
            flat = row.get("segmentation") or []
            known = {"segmentation": flat if flat and isinstance(flat[0], list) else [flat]}
            for text in row["answer"]:
                yield ExpressionRow(dataset, split, location, name, None, content, ref, box, tidy(text), known)
        except ERRORS as error:
            yield Problem(split, location, f"cannot be read: {error!r}")


def _refer(path: Path, dataset: str) -> Iterator[ExpressionRow | Problem]:
    images, annotations = _instances(path)
    for number, ref in enumerate(_list(path, read_pickle(path)), start=1):
        split, location = "train", f"{path}: reference {number}"
        try:
            own, split = _set_and_split(dataset, str(ref["split"]))
            image, annotation = images[str(ref["image_id"])], annotations[str(ref["ann_id"])]
            size, box = (int(image["width"]), int(image["height"])), _box(annotation["bbox"])
            for sentence in ref["sentences"]:
                words = tidy(sentence["sent"])
                name = Path(image["file_name"]).name
                yield ExpressionRow(own, split, location, name, size, None, str(ref["ann_id"]), box, words, annotation)
        except ERRORS as error:
            yield Problem(split, location, f"cannot be read: {error!r}")


def _box(values: Any) -> Box:
    x, y, width, height = (float(value) for value in values)
    return x, y, width, height
