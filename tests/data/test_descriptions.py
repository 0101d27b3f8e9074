"""Generated descriptions: which regions get them, and what is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vilam.data.descriptions import BINS, Descriptions, iou_bin, merged
from vilam.data.records import Expression, ImageRecord, Provenance, Region

GENERATED = (Expression("the red disc", "free", "model", Provenance("models:/vilam/3", 0.5, 0.75)),)
REGIONS = (
    Region("r", (0.0, 0.0, 5.0, 5.0), "disc"),
    Region("s", (5.0, 5.0, 9.0, 9.0), "ring", expressions=(Expression("the ring"),)),
)
RECORD = ImageRecord("a", "train", b"", 10, 10, "toy", "CC0-1.0", regions=REGIONS)


def found(**changes: object) -> Descriptions:
    tally = np.zeros((BINS, 2), dtype=np.int64)
    tally[7], tally[0] = (2, 2), (6, 0)
    return replace(Descriptions("models:/vilam/3", 4, {("a", "r"): GENERATED, ("a", "s"): GENERATED}, tally), **changes)


def test_only_regions_without_expressions_get_generated_ones():
    first, second = found().apply(RECORD).regions
    assert first == replace(REGIONS[0], expressions=GENERATED) and second == REGIONS[1]


@pytest.mark.parametrize("changes", [{"split": "val"}, {"split": "testA"}, {"image_id": "b"}])
def test_other_images_and_other_splits_stay_unchanged(changes):
    assert found().apply(replace(RECORD, **changes)) == replace(RECORD, **changes)
    assert Descriptions().apply(RECORD) is RECORD


def test_fractions_are_of_all_samples_and_of_all_regions():
    assert found().metrics() == {
        "model": "models:/vilam/3",
        "num_regions": 4,
        "num_samples": 8,
        "num_expressions": 2,
        "accepted_samples": 0.25,
        "described_regions": 0.5,
    }
    nothing = Descriptions().metrics()
    assert nothing["model"] == "" and not any(value for name, value in nothing.items() if name != "model")


def test_the_histogram_has_a_row_for_each_bin_and_none_without_samples():
    table = found().histogram()
    assert table["iou"].tolist()[:2] == ["0.0-0.1", "0.1-0.2"] and table["iou"].tolist()[-1] == "0.9-1.0"
    assert table.loc[table["iou"] == "0.7-0.8", ["num_samples", "num_accepted"]].values.tolist() == [[2, 2]]
    assert table["num_samples"].sum() == 8 and len(table) == BINS and Descriptions().histogram().empty


def test_bins_equal_those_of_numpy():
    ious = np.linspace(0, 1, 137)
    expected = np.histogram(ious, bins=BINS, range=(0, 1))[0]
    assert np.bincount([iou_bin(iou) for iou in ious], minlength=BINS).tolist() == expected.tolist()


def test_descriptions_of_several_processes_are_merged():
    other = found(num_regions=3, expressions={("b", "r"): GENERATED})
    whole = merged([found(), other, Descriptions("models:/vilam/3")])
    assert whole.num_regions == 7 and set(whole.expressions) == {("a", "r"), ("a", "s"), ("b", "r")}
    assert whole.tally.sum(axis=0).tolist() == [16, 4]
