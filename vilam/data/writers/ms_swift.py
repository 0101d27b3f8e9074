"""ms-swift's grounding rows: ``SPLIT.jsonl`` and ``images/SPLIT``; boxes are pixels (``bbox_type`` real, its default).

A row of each picture asks for all objects and answers in JSON, with categories as labels; a row of each expression asks
for it and answers with its boxes, or with an empty list if it means none. Paths are relative to the folder: start
ms-swift in it, or set ROOT_IMAGE_DIR. Outlines and keypoints have no place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vilam.data.records import DatasetCard, ImageRecord, Region
from vilam.data.writers.pictures import IMAGES, Records, write_pictures
from vilam.data.writers.words import words_of

DETECT = "<image>Detect everything. Answer in JSON with the bbox_2d and the label of each object."
FIND = "<image>Find <ref-object> in the image."
OBJECT = '\t{"bbox_2d": <bbox>, "label": "<ref-object>"}'
NONE = "[]"


def write_ms_swift(card: DatasetCard, records: Records, folder: Path) -> None:
    """Write a data set into an empty folder; its images are those of the records, byte for byte."""
    for split in card.splits:
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for record, name in write_pictures(records(split), folder, split):
                for row in _rows(record, f"{IMAGES}/{name}"):
                    print(json.dumps(row, ensure_ascii=False), file=file)


def _rows(record: ImageRecord, image: str) -> Iterator[dict[str, Any]]:
    listed = ",\n".join([OBJECT] * len(record.regions))
    names = [json.dumps(region.category, ensure_ascii=False)[1:-1] for region in record.regions]
    yield _row(image, DETECT, f"[\n{listed}\n]" if listed else NONE, names, record.regions)
    for text, regions in words_of(record):
        yield _row(image, FIND, "<bbox>" * len(regions) or NONE, [text], regions)


def _row(image: str, question: str, answer: str, refs: list[str], regions: Sequence[Region]) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
        "images": [image],
        "objects": {"ref": refs, "bbox": [list(region.box_xyxy) for region in regions], "bbox_type": "real"},
    }
