"""Words for regions that nobody described: what is kept of a model's samples, and which regions are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import toy

from vilam.data.records import DatasetCard, Expression, Provenance, Region
from vilam.data.store import write_dataset
from vilam.inference import describing as module
from vilam.inference.addresses import Addressed
from vilam.inference.describing import counted, describe, kept, wordless
from vilam.inference.rewording import ranked
from vilam.inference.round_trip import Drawing, Found, Place, Trip
from vilam.launch import Team
from vilam.models.build import Trained
from vilam.models.tokenization import GroundingTokenizer

BOX = (0.0, 0.0, 1.0, 1.0)


def trip(words: str = "the red disc", iou: float = 0.9, other: float = 0.0, confidence: float = 0.5) -> Trip:
    return Trip("", words, (1,), confidence, Found(box_xyxy=BOX, iou=iou, other_iou=other))


def texts(*trips: Trip, count: int = 3, min_iou: float = 0.5) -> list[str]:
    return [expression.text for expression in kept(ranked(trips, (), "ring", min_iou), "m", count)]


def test_only_what_returns_to_this_region_and_no_other_is_kept():
    assert texts(trip(iou=0.5)) == ["the red disc"]
    assert texts(trip(iou=0.49)) == []
    assert texts(trip(iou=0.49), min_iou=0.4) == ["the red disc"]
    assert texts(trip(iou=0.9, other=0.5)) == []
    assert texts(Trip("", "the red disc", (1,), 0.9, Found()), min_iou=0.001) == []


def test_the_same_words_are_kept_once_in_their_likeliest_form():
    forms = (("Red disc!", 0.4), ("the red disc", 0.6), ("a red  disc", 0.5))
    said = [trip(words, confidence=confidence) for words, confidence in forms]
    assert texts(*said) == ["the red disc"]
    # A likelier sample that does not return stands in nobody's way.
    assert texts(*said, trip("A red disc", iou=0.1, confidence=0.9)) == ["the red disc"]


def test_the_best_come_first_and_no_more_than_are_asked_about():
    said = [trip(words, confidence=confidence) for words, confidence in (("a", 0.2), ("b", 0.8), ("c", 0.5))]
    assert texts(*said) == ["b", "c", "a"]
    assert texts(*said, count=2) == ["b", "c"]


def test_every_sample_is_counted_and_every_expression_says_where_it_comes_from():
    said = [trip()] * 3 + [trip("the ring", iou=0.2)]
    tally = counted(said, 0.5)
    assert tally[9].tolist() == [3, 3] and tally[2].tolist() == [1, 0] and tally.sum() == 7
    expected = Expression("the red disc", "free", "model", Provenance("models:/vilam/3", 0.5, 0.9))
    assert kept(said[:3], "models:/vilam/3", 3) == (expected,)


def test_regions_without_words_are_those_of_the_split_train():
    bare, told = (Region(name, (0.0, 0.0, 9.0, 9.0), "disc") for name in "rs")
    told = replace(told, expressions=(Expression("the ring"),))
    record = replace(toy.scenes()[0], regions=(bare, told))
    silent = [replace(record, image_id=split, split=split, regions=(bare,)) for split in ("val", "test", "testA")]
    whole = replace(record, image_id="whole", regions=(told,))
    assert wordless([record, *silent, whole]) == {record.image_id: [bare]}


class Scripted:
    """Stands in for Traveller: says "the CATEGORY" of each region and finds its way back; notes what it was shown."""

    shown: ClassVar[list[list[str]]] = []

    def __init__(self, tokenizer: GroundingTokenizer, card: DatasetCard) -> None:
        self.tokenizer, self.card = tokenizer, card

    def go_round(
        self, _model: object, records: Sequence[Any], places: Sequence[Place], _drawing: Drawing
    ) -> list[list[Trip]]:
        """A trip a place."""
        self.shown.append([record.image_id for record in records])
        return [[trip(f"the {region.category}")] for _, region in places]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_dataset(toy.scenes(), toy.card(), tmp_path, 100)
    return tmp_path


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Addressed:
    monkeypatch.setattr(Addressed, "open", lambda _: Trained(toy.model(), toy.tokenizer(), toy.card(), {}))
    monkeypatch.setattr(module, "Traveller", Scripted)
    monkeypatch.setattr(Scripted, "shown", [])
    return Addressed("synthesize.teacher models/train", "models/train sha256:0", Path())


def test_each_region_gets_its_own_words_and_no_other_is_asked_about(data, teacher):
    train = [record for record in toy.scenes() if record.split == "train"]
    regions = {record.image_id: record.regions[::2] for record in train}
    found = describe(teacher, data, regions, toy.settings())
    assert found is not None and found.model == teacher.version
    expected = {(record.image_id, r.region_id): f"the {r.category}" for record in train for r in record.regions[::2]}
    assert {place: words[0].text for place, words in found.expressions.items()} == expected
    assert found.num_regions == len(expected) == found.tally.sum(axis=0)[0]
    size = toy.settings().synthesize.batch_size
    assert [len(batch) for batch in Scripted.shown] == [3, 3, 2] and size == 3


def test_nothing_to_describe_is_no_mistake(data, teacher):
    found = describe(teacher, data, {}, toy.settings())
    assert found is not None and found.num_regions == 0 and found.expressions == {}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_processes_share_the_batches_that_one_alone_would_make(size):
    """So that what is in a batch, and with it the last bit of every number, does not depend on their number."""
    ids = [str(number) for number in range(11)]
    alone = module._share(ids, 2, Team(0, 1))
    shares = [module._share(ids, 2, Team(rank, size)) for rank in range(size)]
    assert sorted(batch for share in shares for batch in share) == sorted(alone)
    assert sorted(name for batch in alone for name in batch) == sorted(ids)
