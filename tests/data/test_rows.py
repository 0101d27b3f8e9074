"""Rows: records survive Parquet unchanged, and the metadata lets ``datasets`` decode the image."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa

from vilam.data.records import Group
from vilam.data.rows import schema, to_record, to_row
from vilam.data.scenes import generate_scene


def test_a_record_survives_parquet() -> None:
    record = generate_scene(1, 0, "train", 64)
    table = pa.Table.from_pylist([to_row(record)], schema=schema())
    assert to_record(table.to_pylist()[0]) == record


def test_groups_and_domain_survive_parquet_and_older_tables_lack_them() -> None:
    scene = generate_scene(1, 0, "train", 64)
    ids = tuple(region.region_id for region in scene.regions)
    record = replace(
        scene,
        groups=(Group("1", "all of it", ids), Group("2", "a cat", (), "class", "rule")),
        domain="It is odd.",
        unmarked=("cat", "dog"),
    )
    table = pa.Table.from_pylist([to_row(record)], schema=schema())
    assert to_record(table.to_pylist()[0]) == record
    assert to_record(table.drop_columns(["groups", "domain", "unmarked"]).to_pylist()[0]) == scene


def test_the_metadata_describes_the_image_column_to_hugging_face_datasets() -> None:
    features = json.loads(schema().metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert list(features) == schema().names
    assert schema().field("image").type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
