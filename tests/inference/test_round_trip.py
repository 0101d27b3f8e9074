"""Round trips: the judge of every generated expression. Boxes are compared by pycocotools, not by vilam's own IoU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from vilam.data.records import ImageRecord, Region
from vilam.inference import round_trip as module
from vilam.inference.generate import Answer, Request
from vilam.inference.round_trip import (
    Drawing,
    Found,
    Place,
    Traveller,
    Trip,
    around,
    ask,
    belied,
    hashed,
    speakable,
)
from vilam.models.constraints import Walker
from vilam.tasks import TASKS
from vilam.tasks.base import Reading

DRAWING = Drawing(samples=3, temperature=1.5, max_words=6, seed=5)
Script = Callable[[Callable[[Request], str], Callable[[str], str]], list[str]]


def images(count: int = 3) -> list[ImageRecord]:
    return list(toy.scenes()[:count])


def everywhere(records: Sequence[ImageRecord]) -> list[Place]:
    return [(i, region) for i, record in enumerate(records) for region in record.regions]


def travel(
    records: Sequence[ImageRecord], drawing: Drawing = DRAWING, form: str = "token", few: bool = True
) -> list[list[Trip]]:
    """``few``: a model that has learnt nothing knows six words, so that now and then it comes to an end."""
    traveller = Traveller(toy.tokenizer(form), toy.card())
    if few:
        words = torch.tensor(toy.tokenizer(form).encode(" red blue green thing left small"))
        traveller.speech = replace(traveller.speech, words=words, first_words=words)
    return traveller.go_round(toy.model(coordinates=form), records, everywhere(records), drawing)


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    xywh = [[[x1, y1, x2 - x1, y2 - y1]] for x1, y1, x2, y2 in (a, b)]
    return float(coco_mask.iou(xywh[0], xywh[1], [0])[0, 0])


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Let the model say what the test says: words by request, and the box (0-1000) by words; gives what was asked."""

    def follow(say: Callable[[Request], str], find: Callable[[str], str]) -> list[str]:
        asked: list[str] = []

        def fake(
            _model: object, _tokenizer: object, _pixels: object, requests: Sequence[Request], *_: object
        ) -> list[Answer]:
            asked.extend(request.question for request in requests)
            return [
                Answer(say(request), (1, 2), 0.5)
                if Walker(request.grammar, 1).in_words
                else Answer(find(request.question), (1,), 0.5)
                for request in requests
            ]

        monkeypatch.setattr(module, "generate", fake)
        return asked

    return follow


def test_overlaps_are_those_of_the_box_with_this_region_and_the_nearest_other():
    records = images()
    places = everywhere(records)
    seen = 0
    for (index, region), trips in zip(places, travel(records), strict=True):
        for trip in trips:
            if trip.found.box_xyxy is None:
                assert trip.found.iou == trip.found.other_iou == 0
                continue
            seen += 1
            others = [each for each in records[index].regions if each.region_id != region.region_id]
            assert trip.found.iou == pytest.approx(overlap(trip.found.box_xyxy, region.box_xyxy))
            worst = max((overlap(trip.found.box_xyxy, each.box_xyxy) for each in others), default=0.0)
            assert trip.found.other_iou == pytest.approx(worst)
            assert 0 < trip.confidence <= 1
    assert seen > 10


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1))
def test_a_trip_returns_where_this_region_alone_is_reached(own, other, threshold):
    reached = {name for name, iou in (("own", own), ("other", other)) if iou >= threshold}
    assert Found(iou=own, other_iou=other).returns(threshold) == (reached == {"own"})


@pytest.mark.parametrize("form", ["token", "text"])
def test_words_hold_no_place(form):
    """Of a model that has learnt nothing, drawn hot: neither numbers nor coordinates nor special tokens."""
    tokenizer = toy.tokenizer(form)
    said = [
        trip.words for trips in travel(images(2), replace(DRAWING, temperature=5.0), form, few=False) for trip in trips
    ]
    assert len(said) > 20
    for words in said:
        assert words == words.strip() and not set(words) & set("[]\n") and not any(map(str.isnumeric, words))
        ids = tokenizer.encode(words)
        assert not set(ids) & set(tokenizer.tokenizer.all_special_ids)
        assert tokenizer.first_coordinate is None or max(ids) < tokenizer.first_coordinate


def test_words_that_were_cut_off_lead_nowhere():
    """With a longer cap the same draws go on: those that end by themselves before the cap are the same."""
    records = images(2)
    short, long = (travel(records, replace(DRAWING, samples=6, max_words=cap)) for cap in (3, 40))
    ended, cut = 0, 0
    for some, all_ in zip(short, long, strict=True):
        whole = {trip.words for trip in all_}
        for trip in some:
            if trip.found.box_xyxy is None:
                cut += 1
            else:
                ended += 1
                assert trip.words in whole
    assert cut and ended


@pytest.mark.parametrize("words", ["", "item 7", "item ²", "at [1, 2]", "a\ufffdb", "a\x07"])
def test_what_nobody_would_say_leads_nowhere(script, words):
    """Also where the tokens slipped through: it is not asked back."""
    assert not speakable(words) and not speakable("a\nb") and speakable("the café’s red-brown disc, lit")
    asked = script(lambda _: words, lambda _: "[0, 0, 1000, 1000]")
    records = images(1)
    trips = travel(records)
    assert all(trip.found.box_xyxy is None and not trip.returns(0.01) for made in trips for trip in made)
    assert len(asked) == len(records[0].regions) * DRAWING.samples  # nothing is asked back


@pytest.mark.parametrize(
    ("words", "category", "is_belied"),
    [
        ("the leftmost RBC", "RBC", False),
        ("the leftmost rbc", "WBC", True),
        ("the RBC left of the WBC", "WBC", False),  # nobody can tell which of the two it is about
        ("the round thing", "WBC", False),
        ("the traffic lights, left", "traffic light", False),  # no category's name: a word must be whole
        ("a traffic light", "person", True),
        ("A Traffic-Light!", "person", True),
        ("the personal thing", "RBC", False),
        ("the RBC", "RBC", True),  # of which there are two
        ("rbc.", "RBC", True),
        ("the WBC", "WBC", False),
        ("another RBC", "RBC", False),
    ],
)
def test_words_that_what_is_known_of_the_image_belies(words, category, is_belied):
    names = ("RBC", "RBC", "WBC", "person", "traffic light")
    regions = tuple(Region(str(i), (i, 0, i + 1, 1), name) for i, name in enumerate(names))
    record = ImageRecord("", "train", b"", 9, 9, "", "", regions=regions)
    region = next(each for each in regions if each.category == category)
    assert belied(words, region, record, sorted({*names, "platelet"})) == is_belied


def test_words_that_name_another_category_earn_nothing(script):
    """Also where they would lead back: they are not asked back."""
    record = images(1)[0]
    names = sorted({region.category for region in record.regions})
    asked = script(lambda _: f"the first {names[0]}", lambda _: "[0, 0, 1000, 1000]")
    for region, made in zip(record.regions, travel([record]), strict=True):
        for trip in made:
            assert (trip.found.box_xyxy is not None) == (region.category == names[0])
            assert trip.misleads(0.01) or region.category == names[0]
    assert len(names) > 1 and len(asked) == len(record.regions) * DRAWING.samples + 1


def test_the_same_words_are_asked_once_in_an_image(script):
    """Whichever samples and regions they were said of; spaces make no difference."""
    sayings = ["the  red disc", "the red disc ", "it"]
    asked = script(lambda request: sayings[request.seed % 3], lambda _: "[0, 0, 500, 500]")
    record = images(1)[0]
    (trips, *_) = travel([record], replace(DRAWING, samples=9))
    drawn = [hashed(DRAWING.seed, record.image_id, record.regions[0].region_id, sample) % 3 for sample in range(9)]
    assert [trip.words for trip in trips] == [("the red disc", "the red disc", "it")[i] for i in drawn]
    assert sum("the red disc" in question for question in asked) == 1


def test_samples_answer_different_questions_or_alike(script):
    asked = script(lambda _: "it", lambda _: "[0, 0, 500, 500]")
    record = images(1)[0]
    for alike in (False, True):
        asked.clear()
        travel([record], replace(DRAWING, samples=8, alike=alike))
        of_region = [asked[i : i + 8] for i in range(0, 8 * len(record.regions), 8)]
        assert all((len(set(questions)) == 1) == alike for questions in of_region)


@pytest.mark.parametrize("task", ["rec_mask", "rec_keypoints"])
def test_outlines_and_keypoints_are_found_too(monkeypatch, task):
    """The true answer of a task finds its own region; keypoints by OKS, none where the category has no such points."""
    record = images(1)[0]
    finder = TASKS[task]
    answers = {each.region_id: finder.answer(record, each, None) for each in record.regions}
    said = iter(answers.values())
    monkeypatch.setattr(module, "generate", lambda *a: [Answer(next(said), (1,), 0.5) for _ in a[3]])
    traveller = Traveller(toy.tokenizer(), toy.card())
    asked = [ask(finder, i, [record], (0, region), f"thing {i}") for i, region in enumerate(record.regions)]
    found = traveller.find(toy.model(), toy.pixels(1), [record], asked)
    for region, where in zip(record.regions, found, strict=True):
        assert where.iou > 0.9 and where.answer == answers[region.region_id]
        assert where.box_xyxy is not None
        if task == "rec_mask":
            assert overlap(where.box_xyxy, region.box_xyxy) > 0.7


def test_the_box_around_an_answer():
    assert around(Reading(box_xyxy=(1.0, 2.0, 3.0, 4.0))) == (1.0, 2.0, 3.0, 4.0)
    assert around(Reading(points=((5.0, 1.0), (2.0, 8.0), (3.0, 3.0)))) == (2.0, 1.0, 5.0, 8.0)
    rings = (((0.0, 0.0), (4.0, 0.0), (4.0, 4.0)), ((9.0, 9.0), (7.0, 9.0), (9.0, 7.0)))
    assert around(Reading(polygons=rings)) == (0.0, 0.0, 9.0, 9.0)
    assert around(Reading(points=((5.0, 1.0),))) is None is around(Reading(text="a star"))


def test_the_words_are_asked_back_and_the_box_is_in_pixels(script):
    asked = script(lambda _: "the red disc", lambda question: "[250, 500, 750, 1000]" if "disc" in question else "[]")
    record = replace(images(1)[0], width=200, height=100)
    trips = travel([record])
    assert asked[-1] == module.REC.templates[0].format(expression="the red disc")
    assert {trip.found.box_xyxy for made in trips for trip in made} == {(50.0, 50.0, 150.0, 100.0)}


def test_both_ways_are_asked_for_behind_the_domain(script):
    asked = script(lambda _: "the red disc", lambda _: "[250, 500, 750, 1000]")
    domain = "This is a picture of the red disc."
    travel([replace(record, domain=domain) for record in images(2)])
    assert asked[-1] == f"{domain} {module.REC.templates[0].format(expression='the red disc')}"
    assert all(question.startswith(f"{domain} ") for question in asked)


def test_an_answer_that_cannot_be_read_leads_nowhere(script):
    script(lambda _: "the red disc", lambda _: "somewhere")
    assert all(trip.found.box_xyxy is None for made in travel(images(1)) for trip in made)


def test_a_region_alone_in_its_image_has_no_other(script):
    record = images(1)[0]
    record = replace(record, regions=(Region("r", (0.0, 0.0, 24.0, 48.0), "circle"),))
    script(lambda _: "the red disc", lambda _: "[0, 0, 500, 1000]")
    ((trip, *_),) = travel([record])
    assert (trip.found.iou, trip.found.other_iou) == (pytest.approx(1), 0) and trip.returns(1 - 1e-9)


def test_trips_do_not_depend_on_what_else_is_in_the_batch():
    records = images()
    together = travel(records)
    alone = [trips for record in reversed(records) for trips in reversed(travel([record]))][::-1]
    assert [[(trip.words, trip.found.box_xyxy) for trip in made] for made in together] == [
        [(trip.words, trip.found.box_xyxy) for trip in made] for made in alone
    ]
    for left, right in zip(together, alone, strict=True):
        assert [trip.confidence for trip in left] == pytest.approx([trip.confidence for trip in right], rel=1e-3)


def test_other_seeds_give_other_words():
    def words(seed: int) -> list[str]:
        return [trip.words for made in travel(images(1), replace(DRAWING, seed=seed)) for trip in made]

    assert words(5) == words(5) != words(6)
