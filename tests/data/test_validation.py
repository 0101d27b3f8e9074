"""Validation: each kind of bad row is left out, reported and counted, up to a bound."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from vilam.data.readers.source import Problem, RawRecord
from vilam.data.records import ImageRecord, KeypointSchema, Region
from vilam.data.scenes import generate_scene
from vilam.data.validation import Validator
from vilam.errors import VilamError

SCENE = replace(generate_scene(1, 0, "train", 64), regions=())
GOOD = Region("good", (1.0, 2.0, 30.0, 40.0), "cat", (((1.0, 2.0), (30.0, 2.0), (30.0, 40.0)),), ((5.0, 6.0, 2),))
NAN = math.nan


def _validator(max_invalid: int = 9) -> Validator:
    return Validator(("cat", "dog"), {"cat": KeypointSchema(("nose",), (), (0.1,))}, max_invalid, "source")


def _check(validator: Validator, *records: ImageRecord) -> list[ImageRecord]:
    return list(validator.check(RawRecord(record, f"file.json: row {row}") for row, record in enumerate(records)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box_xyxy": (1, 2, NAN, 4)}, "box is not a number"),
        ({"box_xyxy": (1, 2, math.inf, 4)}, "box is not a number"),
        ({"box_xyxy": (5, 5, 5, 9)}, "box of no area"),
        ({"box_xyxy": (9, 5, 4, 9)}, "box of no area"),
        ({"box_xyxy": (64, 5, 90, 9)}, "box outside the 64x64 image"),
        ({"category": "zebra"}, "unknown category 'zebra'"),
        ({"region_id": "good"}, "its id appears twice"),
        ({"polygons": (((1, 2), (NAN, 2), (3, 4)),)}, "polygon point is not a number"),
        ({"polygons": (((1, 2), (3, 4)),)}, "polygon of 2 points"),
        ({"keypoints": ((1, 2, 2), (3, 4, 2))}, "2 keypoints, a cat has 1"),
        ({"keypoints": ((NAN, 2, 2),)}, "keypoint is not"),
        ({"keypoints": ((1, 2, 7),)}, "keypoint is not"),
        ({"category": "dog"}, "1 keypoints, a dog has 0"),
    ],
)
def test_a_bad_region_is_left_out(change: dict[str, object], message: str, caplog: pytest.LogCaptureFixture) -> None:
    validator = _validator()
    bad = replace(GOOD, **({"region_id": "bad"} | change))  # type: ignore[arg-type]
    (record,) = _check(validator, replace(SCENE, regions=(GOOD, bad)))
    assert record.regions == (GOOD,)
    assert validator.num_invalid == {"train": 1}
    (line,) = caplog.messages
    assert line.startswith(f"file.json: row 0, region {bad.region_id}: ") and message in line and "\n" not in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": SCENE.image[: len(SCENE.image) // 2]}, "broken or truncated image"),
        ({"image": b""}, "broken or truncated image"),
        ({"image": b"\x89PNG\r\n\x1a\n" + bytes(50)}, "broken or truncated image"),
        ({"width": 65}, "the image is 64x64, the annotation says 65x64"),
        ({"image_id": SCENE.image_id}, "appears twice"),
    ],
)
def test_a_bad_image_is_left_out(change: dict[str, object], message: str, caplog: pytest.LogCaptureFixture) -> None:
    validator = _validator()
    bad = replace(SCENE, **({"image_id": "bad"} | change))  # type: ignore[arg-type]
    assert _check(validator, SCENE, bad) == [SCENE]
    assert validator.num_invalid == {"train": 1}
    assert message in caplog.text


def test_categories_of_invalid_regions_are_unmarked() -> None:
    bad = replace(GOOD, region_id="bad", category="dog", box_xyxy=(5, 5, 5, 9), keypoints=())
    record, whole = _check(_validator(), replace(SCENE, regions=(GOOD, bad)), replace(SCENE, image_id="other"))
    assert record.unmarked == ("dog",) and whole.unmarked == ()


def test_regions_are_clipped_to_the_image() -> None:
    over = replace(GOOD, box_xyxy=(-3, 2, 70, 40), polygons=(((-3, 2), (70, 2), (30, 90)),), keypoints=((70, 6, 2),))
    ((region,),) = (record.regions for record in _check(_validator(), replace(SCENE, regions=(over,))))
    assert region.box_xyxy == (0, 2, 64, 40)
    assert region.polygons == (((0, 2), (64, 2), (30, 64)),)
    assert region.keypoints == ((0, 0, 0),)


def test_above_the_bound_it_stops_and_lists_the_first_rows() -> None:
    validator = _validator(max_invalid=2)
    problems = [Problem("val", f"file.json: row {row}", "no bbox") for row in range(9)]
    with pytest.raises(VilamError) as error:
        list(validator.check(problems))
    assert "prepare.max_invalid = 2" in str(error.value)
    assert "row 0: no bbox; file.json: row 1: no bbox" in str(error.value)
    assert "\n" not in str(error.value)


def test_at_the_bound_it_continues() -> None:
    validator = _validator(max_invalid=2)
    assert list(validator.check([Problem("val", "row", "bad")] * 2)) == []
    assert validator.num_invalid == {"val": 2}


def test_a_bound_of_zero_stops_at_the_first_row() -> None:
    with pytest.raises(VilamError):
        list(_validator(max_invalid=0).check([Problem("val", "row", "bad")]))
