"""Image records in COCO's JSON format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vilam.data.records import DatasetCard, ImageRecord, Region
from vilam.geometry.boxes import area

Row = dict[str, Any]


def coco_content(card: DatasetCard, records: Iterator[ImageRecord]) -> dict[str, list[Row]]:
    """Records as COCO's lists: licenses, categories, images, annotations, which also hold the expressions."""
    categories = {name: number for number, name in enumerate(card.categories, start=1)}
    licences = {name: number for number, name in enumerate(card.licences, start=1)}
    images: list[Row] = []
    annotations: list[Row] = []
    for number, record in enumerate(records, start=1):
        licence = licences.setdefault(record.licence, len(licences) + 1)
        images.append(_image(number, record, licence))
        for region in record.regions:
            row = _annotation(len(annotations) + 1, number, categories[region.category], region)
            annotations.append(row)
    return {
        "licenses": [{"id": number, "name": name} for name, number in licences.items()],
        "categories": [_category(card, name, number) for name, number in categories.items()],
        "images": images,
        "annotations": annotations,
    }


def _image(number: int, record: ImageRecord, licence: int) -> Row:
    suffix = "png" if record.image.startswith(b"\x89PNG") else "jpg"
    size = {"width": record.width, "height": record.height}
    return {"id": number, "file_name": f"{record.image_id}.{suffix}", **size, "license": licence}


def _annotation(number: int, image: int, category: int, region: Region) -> Row:
    x1, y1, x2, y2 = region.box_xyxy
    row: Row = {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": float(area(region.box_xyxy)),
        "iscrowd": 0,
        "segmentation": [[value for point in ring for value in point] for ring in region.polygons],
        "expressions": [each.text for each in region.expressions],
    }
    if region.keypoints:
        row["keypoints"] = [value for point in region.keypoints for value in point]
        row["num_keypoints"] = sum(v > 0 for _, _, v in region.keypoints)
    return row


def _category(card: DatasetCard, name: str, number: int) -> Row:
    """A category with its keypoints; COCO counts the ends of bones from 1."""
    row: Row = {"id": number, "name": name}
    if schema := card.keypoints.get(name):
        row["keypoints"] = list(schema.names)
        row["skeleton"] = [[start + 1, end + 1] for start, end in schema.skeleton]
    return row
