"""Expressions for regions without any: which regions are described, and which samples are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy

from vilam.cycle import teacher as module
from vilam.cycle.round_trip import BatchRegion, Found, RoundTrip
from vilam.cycle.shortening import ranked
from vilam.cycle.teacher import batches_of, counted, describe, kept, undescribed
from vilam.data.records import Expression, Provenance, Region
from vilam.data.store import RecordStore, write_dataset
from vilam.inference.resolve import ResolvedModel
from vilam.launch import Processes
from vilam.models.build import LoadedModel

BOX = (0.0, 0.0, 1.0, 1.0)


def round_trip(words: str = "the red disc", iou: float = 0.9, other: float = 0.0, confidence: float = 0.5) -> RoundTrip:
    return RoundTrip("", words, (1,), confidence, Found(box_xyxy=BOX, iou=iou, other_iou=other))


def texts(*round_trips: RoundTrip, count: int = 3, min_iou: float = 0.5) -> list[str]:
    return [expression.text for expression in kept(ranked(round_trips, (), "ring", min_iou), "m", count)]


def test_an_expression_is_kept_if_it_returns_to_its_region_and_no_other():
    assert texts(round_trip(iou=0.5)) == ["the red disc"]
    assert texts(round_trip(iou=0.49)) == []
    assert texts(round_trip(iou=0.49), min_iou=0.4) == ["the red disc"]
    assert texts(round_trip(iou=0.9, other=0.5)) == []
    assert texts(RoundTrip("", "the red disc", (1,), 0.9, Found()), min_iou=0.001) == []


def test_only_the_most_probable_form_of_an_expression_is_kept():
    forms = (("Red disc!", 0.4), ("the red disc", 0.6), ("a red  disc", 0.5))
    round_trips = [round_trip(words, confidence=confidence) for words, confidence in forms]
    assert texts(*round_trips) == ["the red disc"]
    # A more probable sample that does not return changes nothing.
    assert texts(*round_trips, round_trip("A red disc", iou=0.1, confidence=0.9)) == ["the red disc"]


def test_the_most_probable_expressions_are_kept_up_to_the_count():
    round_trips = [
        round_trip(words, confidence=confidence) for words, confidence in (("a", 0.2), ("b", 0.8), ("c", 0.5))
    ]
    assert texts(*round_trips) == ["b", "c", "a"]
    assert texts(*round_trips, count=2) == ["b", "c"]


def test_every_sample_is_counted_and_every_expression_has_its_provenance():
    round_trips = [round_trip()] * 3 + [round_trip("the ring", iou=0.2)]
    counts = counted(round_trips, 0.5)
    assert counts[9].tolist() == [3, 3] and counts[2].tolist() == [1, 0] and counts.sum() == 7
    expected = Expression("the red disc", "free", "model", Provenance("models:/vilam/3", 0.5, 0.9))
    assert kept(round_trips[:3], "models:/vilam/3", 3) == (expected,)


def test_undescribed_regions_are_those_of_the_split_train():
    bare, described = (Region(name, (0.0, 0.0, 9.0, 9.0), "disc") for name in "rs")
    described = replace(described, expressions=(Expression("the ring"),))
    record = replace(toy.scenes()[0], regions=(bare, described))
    held_out = [replace(record, image_id=split, split=split, regions=(bare,)) for split in ("val", "test", "testA")]
    whole = replace(record, image_id="whole", regions=(described,))
    assert undescribed([record, *held_out, whole]) == {record.image_id: [bare]}


SHOWN: list[list[str]] = []
"""The image ids of each batch that was described."""


def scripted(
    _model: object, records: Sequence[Any], regions: Sequence[BatchRegion], _sampling: object
) -> list[list[RoundTrip]]:
    """Replaces `make_round_trips`: generates "the CATEGORY" for each region and finds the region."""
    SHOWN.append([record.image_id for record in records])
    return [[round_trip(f"the {region.category}")] for _, region in regions]


@pytest.fixture
def data(tmp_path: Path) -> RecordStore:
    write_dataset(toy.scenes(), toy.card(), tmp_path, 100)
    return RecordStore(tmp_path, "train")


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> ResolvedModel:
    monkeypatch.setattr(ResolvedModel, "open", lambda _: LoadedModel(toy.model(), toy.tokenizer(), toy.card(), {}))
    monkeypatch.setattr(module, "make_round_trips", scripted)
    SHOWN.clear()
    return ResolvedModel("synthesize.teacher models/train", "models/train sha256:0", Path())


def test_each_chosen_region_gets_its_expression_and_other_regions_get_none(data, teacher):
    train = [record for record in toy.scenes() if record.split == "train"]
    regions = {record.image_id: record.regions[::2] for record in train}
    found = describe(teacher, data, regions, toy.settings())
    assert found is not None and found.model == teacher.version
    expected = {(record.image_id, r.region_id): f"the {r.category}" for record in train for r in record.regions[::2]}
    assert {key: words[0].text for key, words in found.expressions.items()} == expected
    assert found.num_regions == len(expected) == found.tally.sum(axis=0)[0]
    size = toy.settings().synthesize.batch_size
    assert [len(batch) for batch in SHOWN] == [3, 3, 2] and size == 3


def test_no_region_to_describe_is_no_error(data, teacher):
    found = describe(teacher, data, {}, toy.settings())
    assert found is not None and found.num_regions == 0 and found.expressions == {}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_processes_divide_the_same_batches(size):
    """A batch, and with it the last bit of every number, does not depend on the number of processes."""
    ids = [str(number) for number in range(11)]
    alone = batches_of(ids, 2, Processes(0, 1))
    divided = [batches_of(ids, 2, Processes(rank, size)) for rank in range(size)]
    assert sorted(batch for own in divided for batch in own) == sorted(alone)
    assert sorted(name for batch in alone for name in batch) == sorted(ids)


def test_only_the_first_process_shows_the_progress(capsys):
    for rank in (0, 1):
        assert [*module._with_progress([["a", "b"], ["c"]], Processes(rank, 2))] == [["a", "b"], ["c"]]
        assert ("describe: 3/3 images" in capsys.readouterr().err) == (rank == 0)
