"""Validation: each kind of bad row is left out, reported and counted, up to a bound."""

from __future__ import annotations

import math
from collections.abc import Iterator
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


def _validator(max_invalid: float = 9) -> Validator:
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


RING = ((1.0, 2.0), (30.0, 2.0), (30.0, 40.0))


@pytest.mark.parametrize(
    ("change", "left", "message"),
    [
        ({"polygons": (((1, 2), (NAN, 2), (3, 4)), RING)}, {"polygons": (RING,)}, "polygon point is not a number"),
        ({"polygons": (((1, 2), (3, 4)), RING)}, {"polygons": (RING,)}, "polygon of 2 points"),
        ({"keypoints": ((1, 2, 2), (3, 4, 2))}, {"keypoints": ()}, "2 keypoints, a cat has 1"),
        ({"keypoints": ((NAN, 2, 2),)}, {"keypoints": ()}, "keypoint is not"),
        ({"keypoints": ((1, 2, 7),)}, {"keypoints": ()}, "keypoint is not"),
        ({"category": "dog"}, {"keypoints": ()}, "1 keypoints, a dog has 0"),
    ],
)
def test_a_bad_part_costs_only_itself(
    change: dict[str, object], left: dict[str, object], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    validator = _validator()
    bad = replace(GOOD, **change)  # type: ignore[arg-type]
    (record,) = _check(validator, replace(SCENE, regions=(bad,)))
    assert record.regions == (replace(bad, **left),)  # type: ignore[arg-type]
    assert message in caplog.text and record.unmarked == ()
    assert sum(validator.invalid.kinds.values()) == 1 and validator.invalid.num_objects == 1


def test_any_number_of_rings_may_be_bad_beside_good_ones_but_not_of_whole_outlines() -> None:
    crumbs = [
        replace(SCENE, image_id=str(i), regions=(replace(GOOD, polygons=(((1, 2), (3, 4)), RING)),)) for i in range(9)
    ]
    validator = _validator(0.05)
    assert len(_check(validator, *crumbs)) == 9 and validator.invalid.kinds == {"ring": 9}
    lost = [replace(one, regions=(replace(GOOD, polygons=(((1, 2), (3, 4)),)),)) for one in crumbs]
    with pytest.raises(VilamError, match=r"9 of 9 objects are bad \(outline\)"):
        _check(_validator(0.05), *lost)


def test_regions_of_one_id_all_stay(caplog: pytest.LogCaptureFixture) -> None:
    first, second = (replace(SCENE, image_id=name, regions=(GOOD, GOOD, replace(GOOD, region_id="b"))) for name in "xy")
    found = _check(_validator(), first, second)
    assert [[region.region_id for region in record.regions] for record in found] == [["good", "good_2", "b"]] * 2
    assert not caplog.messages


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


def _boxes(bad: int, good: int, category: str = "cat") -> list[ImageRecord]:
    """Pictures of one object each."""
    wrong, right = (
        replace(GOOD, box_xyxy=box, category=category, keypoints=()) for box in ((5, 5, 5, 9), (1, 2, 3, 4))
    )
    regions = [wrong] * bad + [right] * good
    return [replace(SCENE, image_id=str(number), regions=(each,)) for number, each in enumerate(regions)]


@pytest.mark.parametrize(
    ("max_invalid", "bad", "good", "stops"),
    [
        (0.05, 18, 0, True),
        (0.05, 1, 0, True),
        (0.05, 2, 1, True),
        (0.05, 1, 1, False),
        (0.05, 5, 5, False),
        (0.05, 5, 13, False),
        (0.05, 6, 13, True),
        (0.05, 6, 114, False),
        (0.05, 6, 113, True),
        (0, 1, 999, True),
        (3, 3, 0, False),
        (3, 4, 99, True),
    ],
)
def test_bad_objects_are_a_fraction_or_few_or_a_number(max_invalid: float, bad: int, good: int, stops: bool) -> None:
    validator = _validator(max_invalid)
    records = _boxes(bad, good)
    if stops:
        with pytest.raises(VilamError, match=r"prepare\.max_invalid = .*\(box\)"):
            _check(validator, *records)
    else:
        assert len(_check(validator, *records)) == bad + good
        assert validator.invalid.kinds == {"box": bad} and validator.invalid.lost == {"cat": bad}
        assert validator.invalid.lost_categories == ([] if good else ["cat"])


def test_kinds_do_not_add_up() -> None:
    rows: list[RawRecord | Problem] = [RawRecord(record, "row") for record in _boxes(4, 10)]
    rows += [Problem("train", f"file {row}", f"image file {row}.png not found") for row in range(5)]
    validator = _validator(0.05)
    assert len(list(validator.check(rows))) == 14
    assert validator.invalid.kinds == {"box": 4, "picture missing": 5}
    assert (validator.invalid.num_images, validator.invalid.num_objects) == (19, 14)


def test_it_stops_early_if_most_is_bad() -> None:
    read = 0

    def rows() -> Iterator[Problem]:
        nonlocal read
        for row in range(100_000):
            read += 1
            yield Problem("train", f"file.json: row {row}", "no file")

    with pytest.raises(VilamError, match="pictures are bad"):
        list(_validator(0.05).check(rows()))
    assert read < 2000


def test_of_many_bad_rows_only_the_first_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    list(_validator(500).check(Problem("train", f"row {row}", "no bbox") for row in range(300)))
    assert len(caplog.messages) == 21 and "box: 300 bad rows in all" in caplog.messages[-1]


def test_above_the_bound_it_tells_the_first_row() -> None:
    with pytest.raises(VilamError) as error:
        list(_validator(2).check(Problem("val", f"file.json: row {row}", "no bbox") for row in range(9)))
    assert "prepare.max_invalid = 2" in str(error.value)
    assert "the first: file.json: row 0: no bbox: fix them" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(threads: int, caplog: pytest.LogCaptureFixture) -> None:
    records = [replace(generate_scene(1, index, "train", 64), image_id=str(index), regions=()) for index in range(90)]
    records[7] = replace(records[7], image=records[7].image[:99])
    rows: list[RawRecord | Problem] = [RawRecord(record, record.image_id) for record in records]
    rows.insert(40, Problem("val", "row 40", "no file"))
    found = list(Validator((), {}, 9, "source", threads=threads).check(rows))
    assert [record.image_id for record in found] == [str(index) for index in range(90) if index != 7]
    assert [line.split(":")[0] for line in caplog.messages] == ["7", "row 40"]


def test_reading_runs_only_a_little_ahead() -> None:
    read = 0

    def rows() -> Iterator[RawRecord]:
        nonlocal read
        for index in range(500):
            read += 1
            yield RawRecord(replace(SCENE, image_id=str(index)), "row")

    checked = Validator((), {}, 9, "source", threads=2).check(rows())
    next(checked)
    assert read <= 2 * 8 + 1
    checked.close()
