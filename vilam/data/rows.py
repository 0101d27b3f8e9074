"""An image record as a Parquet row and back: the schema of the shards, readable by Hugging Face ``datasets``.

Polygons and keypoints are flat lists, as in COCO: x1, y1, x2, y2, ... and x1, y1, v1, x2, y2, v2, ...
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import chain
from typing import Any

import pyarrow as pa

from vilam.data.records import Expression, Group, ImageRecord, Region

_EXPRESSION = pa.struct([("text", pa.string()), ("kind", pa.string()), ("source", pa.string())])
_REGION = pa.struct(
    [
        ("region_id", pa.string()),
        ("box_xyxy", pa.list_(pa.float64())),
        ("category", pa.string()),
        ("polygons", pa.list_(pa.list_(pa.float64()))),
        ("keypoints", pa.list_(pa.float64())),
        ("expressions", pa.list_(_EXPRESSION)),
    ]
)
_GROUP = pa.struct(
    [
        ("group_id", pa.string()),
        ("text", pa.string()),
        ("region_ids", pa.list_(pa.string())),
        ("kind", pa.string()),
        ("source", pa.string()),
    ]
)
_COLUMNS = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("captions", pa.list_(pa.string())),
        ("regions", pa.list_(_REGION)),
        ("groups", pa.list_(_GROUP)),
        ("domain", pa.string()),
        ("unmarked", pa.list_(pa.string())),
    ]
)


def _feature(kind: pa.DataType) -> Any:
    """A type as a feature of Hugging Face ``datasets``."""
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def schema() -> pa.Schema:
    """The columns of a shard, with the metadata that ``datasets`` needs to decode the image column."""
    features = {field.name: _feature(field.type) for field in _COLUMNS} | {"image": {"_type": "Image"}}
    return _COLUMNS.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def to_row(record: ImageRecord) -> dict[str, Any]:
    """A record as plain lists and dicts in the shape of ``schema``."""
    return {
        "image_id": record.image_id,
        "split": record.split,
        "image": {"bytes": record.image, "path": None},
        "width": record.width,
        "height": record.height,
        "source": record.source,
        "licence": record.licence,
        "captions": list(record.captions),
        "regions": [_region_row(region) for region in record.regions],
        "groups": [{**asdict(group), "region_ids": list(group.region_ids)} for group in record.groups],
        "domain": record.domain,
        "unmarked": list(record.unmarked),
    }


def to_record(row: dict[str, Any]) -> ImageRecord:
    """The record of a row that ``to_row`` made; columns that were not read are empty."""
    return ImageRecord(
        row["image_id"],
        row["split"],
        row["image"]["bytes"] if "image" in row else b"",
        row["width"],
        row["height"],
        row["source"],
        row["licence"],
        tuple(row["captions"]),
        tuple(_region(region) for region in row["regions"]),
        # older data sets lack this column and those below
        tuple(
            Group(one["group_id"], one["text"], tuple(one["region_ids"]), one["kind"], one["source"])
            for one in row.get("groups", ())
        ),
        row.get("domain", ""),
        tuple(row.get("unmarked", ())),
    )


def _region_row(region: Region) -> dict[str, Any]:
    return {
        "region_id": region.region_id,
        "box_xyxy": region.box_xyxy,
        "category": region.category,
        "polygons": [list(chain.from_iterable(ring)) for ring in region.polygons],
        "keypoints": list(chain.from_iterable(region.keypoints)),
        "expressions": [{"text": one.text, "kind": one.kind, "source": one.source} for one in region.expressions],
    }


def _region(row: dict[str, Any]) -> Region:
    x1, y1, x2, y2 = row["box_xyxy"]
    keypoints = row["keypoints"]
    return Region(
        row["region_id"],
        (x1, y1, x2, y2),
        row["category"],
        tuple(tuple(zip(ring[::2], ring[1::2], strict=True)) for ring in row["polygons"]),
        tuple((x, y, int(v)) for x, y, v in zip(keypoints[::3], keypoints[1::3], keypoints[2::3], strict=True)),
        tuple(Expression(one["text"], one["kind"], one["source"]) for one in row["expressions"]),
    )
