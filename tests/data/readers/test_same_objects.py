"""The same pictures and objects, written in every format, are read as the same records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import samples

from vilam.data.readers import find_recipe, open_files
from vilam.data.readers.source import RawRecord
from vilam.data.records import ImageRecord

PIXEL = 0.6
"""Numbers are rounded to a thousandth of the picture's sides in some formats."""
EXPECTED = {hashlib.sha256(samples.picture_bytes(name)).hexdigest(): name for name in samples.PICTURES}


def records(write: Callable[[Path], None], root: Path, project: Path) -> dict[str, ImageRecord]:
    """The records by the name of their picture; no row may be a problem."""
    write(root)
    source = open_files(*find_recipe("auto", root, project))
    rows = list(source.rows)
    assert all(isinstance(row, RawRecord) for row in rows), rows
    return {
        EXPECTED[hashlib.sha256(row.record.image).hexdigest()]: row.record for row in rows if isinstance(row, RawRecord)
    }


@pytest.mark.parametrize("name", samples.WITH_CATEGORIES)
def test_objects_with_categories(name: str, tmp_path: Path, project: Path) -> None:
    found = records(samples.WITH_CATEGORIES[name], tmp_path, project)
    assert found.keys() | samples.UNLISTED.get(name, set()) == samples.PICTURES.keys()
    for picture, things in samples.PICTURES.items():
        if picture not in found:
            continue
        regions = sorted(found[picture].regions, key=lambda region: region.box_xyxy)
        assert [region.category for region in regions] == [one.name for one in sorted(things, key=lambda one: one.box)]
        for region, one in zip(regions, sorted(things, key=lambda one: one.box), strict=True):
            assert region.box_xyxy == pytest.approx(one.box, abs=PIXEL)
    if len({record.split for record in found.values()}) == len(samples.SPLITS) and name in ("yolo", "coco", "voc"):
        assert {picture: record.split for picture, record in found.items()} == samples.SPLIT_OF


@pytest.mark.parametrize("name", samples.WITH_WORDS)
def test_objects_with_words(name: str, tmp_path: Path, project: Path) -> None:
    found = records(samples.WITH_WORDS[name], tmp_path, project)
    for picture, things in samples.PICTURES.items():
        regions = found[picture].regions if picture in found else ()
        boxes = {expression.text: region.box_xyxy for region in regions for expression in region.expressions}
        words = {f"the {one.name} at {one.box[0]}": one.box for one in things}
        assert boxes.keys() == words.keys()
        assert all(boxes[text] == pytest.approx(box, abs=PIXEL) for text, box in words.items())
