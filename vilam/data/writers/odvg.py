"""ODVG for MM-Grounding-DINO and Open-GroundingDINO: ``images/SPLIT``, and two files of rows for each split.

``SPLIT_od.jsonl`` holds the objects of every picture, by ``label_map.json``; ``SPLIT_vg.jsonl`` the words of every
picture that has any: each is a phrase of the caption, which is all of them one after the other, and has an entry for
each of its boxes. Outlines, keypoints and words that mean nothing have no place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vilam.data.records import DatasetCard, ImageRecord
from vilam.data.writers.pictures import Records, write_pictures
from vilam.data.writers.words import words_of

Row = dict[str, Any]

DOT = " . "


def write_odvg(card: DatasetCard, records: Records, folder: Path) -> None:
    """Write a data set into an empty folder; its images are those of the records, byte for byte."""
    numbers = {name: number for number, name in enumerate(card.categories)}
    names = {str(number): name for name, number in numbers.items()}
    (folder / "label_map.json").write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
    for split in card.splits:
        with (
            (folder / f"{split}_od.jsonl").open("w", encoding="utf-8") as objects,
            (folder / f"{split}_vg.jsonl").open("w", encoding="utf-8") as words,
        ):
            for record, name in write_pictures(records(split), folder, split):
                head: Row = {"filename": name, "height": record.height, "width": record.width}
                instances = [
                    {"bbox": list(region.box_xyxy), "label": numbers[region.category], "category": region.category}
                    for region in record.regions
                ]
                print(json.dumps({**head, "detection": {"instances": instances}}, ensure_ascii=False), file=objects)
                if grounding := _grounding(record):
                    print(json.dumps({**head, "grounding": grounding}, ensure_ascii=False), file=words)


def _grounding(record: ImageRecord) -> Row | None:
    """The words of a picture; None if it has none that mean a box."""
    said = [(text, regions) for text, regions in words_of(record) if regions]
    regions = [
        {"bbox": list(region.box_xyxy), "phrase": text, "tokens_positive": [[start, start + len(text)]]}
        for (text, own), start in zip(said, _starts([text for text, _ in said]), strict=True)
        for region in own
    ]
    return {"caption": DOT.join(text for text, _ in said) + DOT.rstrip(), "regions": regions} if regions else None


def _starts(texts: list[str]) -> Iterator[int]:
    """Where each text begins in the caption."""
    start = 0
    for text in texts:
        yield start
        start += len(text) + len(DOT)
