"""Round trips. pycocotools computes the expected IoU of the boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from vilam.cycle import round_trip as module
from vilam.cycle.round_trip import (
    BatchRegion,
    Found,
    RoundTrip,
    Sampling,
    bounding_box,
    contradicts_category,
    find,
    is_valid,
    make_round_trips,
    rec_query,
)
from vilam.data.records import ImageRecord, Region
from vilam.draws import seed_of
from vilam.inference.constraints import Walker
from vilam.inference.generate import Answer, Request
from vilam.tasks import TASKS
from vilam.tasks.base import Reading

SAMPLING = Sampling(samples=3, temperature=1.5, max_tokens=6, seed=5)
Script = Callable[[Callable[[Request], str], Callable[[str], str]], list[str]]


def images(count: int = 3) -> list[ImageRecord]:
    return list(toy.scenes()[:count])


def all_regions(records: Sequence[ImageRecord]) -> list[BatchRegion]:
    return [(i, region) for i, record in enumerate(records) for region in record.regions]


def run(
    records: Sequence[ImageRecord], sampling: Sampling = SAMPLING, form: str = "token", few: bool = True
) -> list[list[RoundTrip]]:
    """``few``: see `toy.with_few_words`."""
    model = toy.with_few_words(coordinates=form) if few else toy.with_grammars(coordinates=form)
    return make_round_trips(model, records, all_regions(records), sampling)


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    xywh = [[[x1, y1, x2 - x1, y2 - y1]] for x1, y1, x2, y2 in (a, b)]
    return float(coco_mask.iou(xywh[0], xywh[1], [0])[0, 0])


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Scripts the model: an expression by request, a box (0-1000) by question; returns the questions."""

    def follow(words: Callable[[Request], str], box: Callable[[str], str]) -> list[str]:
        asked: list[str] = []

        def fake(_model: object, _images: object, requests: Sequence[Request], *_: object) -> list[Answer]:
            asked.extend(request.question for request in requests)
            return [
                Answer(words(request), (1, 2), 0.5)
                if Walker(request.grammar, 1).in_words
                else Answer(box(request.question), (1,), 0.5)
                for request in requests
            ]

        monkeypatch.setattr(module, "generate", fake)
        return asked

    return follow


def test_iou_and_other_iou_equal_pycocotools_of_the_region_and_the_nearest_other():
    records = images()
    regions = all_regions(records)
    found = 0
    for (index, region), round_trips in zip(regions, run(records), strict=True):
        for round_trip in round_trips:
            if round_trip.found.box_xyxy is None:
                assert round_trip.found.iou == round_trip.found.other_iou == 0
                continue
            found += 1
            others = [each for each in records[index].regions if each.region_id != region.region_id]
            assert round_trip.found.iou == pytest.approx(overlap(round_trip.found.box_xyxy, region.box_xyxy))
            worst = max((overlap(round_trip.found.box_xyxy, each.box_xyxy) for each in others), default=0.0)
            assert round_trip.found.other_iou == pytest.approx(worst)
            assert 0 < round_trip.confidence <= 1
    assert found > 10


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1))
def test_a_round_trip_returns_if_it_reaches_its_region_alone(own, other, threshold):
    reached = {name for name, iou in (("own", own), ("other", other)) if iou >= threshold}
    assert Found(iou=own, other_iou=other).returns(threshold) == (reached == {"own"})


@pytest.mark.parametrize("form", ["token", "text"])
def test_expressions_hold_no_digits_coordinates_or_special_tokens(form):
    """The model is untrained and samples at a high temperature."""
    tokenizer = toy.tokenizer(form)
    expressions = [
        round_trip.words
        for round_trips in run(images(2), replace(SAMPLING, temperature=5.0), form, few=False)
        for round_trip in round_trips
    ]
    assert len(expressions) > 20
    for words in expressions:
        assert words == words.strip() and not set(words) & set("[]\n") and not any(map(str.isnumeric, words))
        ids = tokenizer.encode(words)
        assert not set(ids) & set(tokenizer.tokenizer.all_special_ids)
        assert tokenizer.first_coordinate is None or max(ids) < tokenizer.first_coordinate


def test_expressions_that_were_cut_off_find_nothing():
    """With a higher limit the same samples continue: those that end before the lower limit are the same."""
    records = images(2)
    short, long = (run(records, replace(SAMPLING, samples=6, max_tokens=limit)) for limit in (3, 40))
    ended, cut = 0, 0
    for some, all_ in zip(short, long, strict=True):
        whole = {each.words for each in all_}
        for round_trip in some:
            if round_trip.found.box_xyxy is None:
                cut += 1
            else:
                ended += 1
                assert round_trip.words in whole
    assert cut and ended


@pytest.mark.parametrize("words", ["", "item 7", "item ²", "at [1, 2]", "a\ufffdb", "a\x07"])
def test_expressions_that_are_not_valid_find_nothing(script, words):
    """No question is asked about them, even if the grammar allows them."""
    assert not is_valid(words) and not is_valid("a\nb") and is_valid("the café’s red-brown disc, lit")
    asked = script(lambda _: words, lambda _: "[0, 0, 1000, 1000]")
    records = images(1)
    round_trips = run(records)
    assert all(
        round_trip.found.box_xyxy is None and not round_trip.returns(0.01)
        for made in round_trips
        for round_trip in made
    )
    assert len(asked) == len(records[0].regions) * SAMPLING.samples  # no REC question


@pytest.mark.parametrize(
    ("words", "category", "contradicts"),
    [
        ("the leftmost RBC", "RBC", False),
        ("the leftmost rbc", "WBC", True),
        ("the RBC left of the WBC", "WBC", False),  # either of the two may be meant
        ("the round thing", "WBC", False),
        ("the traffic lights, left", "traffic light", False),  # no category's name: words must be whole
        ("a traffic light", "person", True),
        ("A Traffic-Light!", "person", True),
        ("the personal thing", "RBC", False),
        ("the RBC", "RBC", True),  # the image has two
        ("rbc.", "RBC", True),
        ("the WBC", "WBC", False),
        ("another RBC", "RBC", False),
    ],
)
def test_contradicts_category(words, category, contradicts):
    names = ("RBC", "RBC", "WBC", "person", "traffic light")
    regions = tuple(Region(str(i), (i, 0, i + 1, 1), name) for i, name in enumerate(names))
    record = ImageRecord("", "train", b"", 9, 9, "", "", regions=regions)
    region = next(each for each in regions if each.category == category)
    assert contradicts_category(words, region, record, sorted({*names, "platelet"})) == contradicts


def test_expressions_that_contradict_their_category_find_nothing(script):
    """No question is asked about them, even if they would return."""
    record = images(1)[0]
    names = sorted({region.category for region in record.regions})
    asked = script(lambda _: f"the first {names[0]}", lambda _: "[0, 0, 1000, 1000]")
    for region, made in zip(record.regions, run([record]), strict=True):
        for round_trip in made:
            assert (round_trip.found.box_xyxy is not None) == (region.category == names[0])
            assert round_trip.is_ambiguous(0.01) or region.category == names[0]
    assert len(names) > 1 and len(asked) == len(record.regions) * SAMPLING.samples + 1


def test_the_same_expression_is_asked_once_per_image(script):
    """Several samples and regions may have it; spaces are ignored."""
    expressions = ["the  red disc", "the red disc ", "it"]
    asked = script(lambda request: expressions[request.seed % 3], lambda _: "[0, 0, 500, 500]")
    record = images(1)[0]
    (round_trips, *_) = run([record], replace(SAMPLING, samples=9))
    sampled = [seed_of(SAMPLING.seed, record.image_id, record.regions[0].region_id, sample) % 3 for sample in range(9)]
    assert [each.words for each in round_trips] == [("the red disc", "the red disc", "it")[i] for i in sampled]
    assert sum("the red disc" in question for question in asked) == 1


def test_samples_answer_different_questions_or_the_same(script):
    asked = script(lambda _: "it", lambda _: "[0, 0, 500, 500]")
    record = images(1)[0]
    for same in (False, True):
        asked.clear()
        run([record], replace(SAMPLING, samples=8, same_question=same))
        of_region = [asked[i : i + 8] for i in range(0, 8 * len(record.regions), 8)]
        assert all((len(set(questions)) == 1) == same for questions in of_region)


@pytest.mark.parametrize("task", ["rec_mask", "rec_keypoints"])
def test_find_scores_masks_and_keypoints(monkeypatch, task):
    """The true answer of a task finds its own region; keypoints by OKS, if the category has them."""
    record = images(1)[0]
    chosen = TASKS[task]
    answers = {each.region_id: chosen.answer(record, each, None) for each in record.regions}
    replies = iter(answers.values())
    monkeypatch.setattr(module, "generate", lambda *a: [Answer(next(replies), (1,), 0.5) for _ in a[2]])
    queries = [rec_query(chosen, i, [record], (0, region), f"thing {i}") for i, region in enumerate(record.regions)]
    found = find(toy.with_grammars(), toy.pixels(1), [record], queries)
    for region, one in zip(record.regions, found, strict=True):
        assert one.iou > 0.9 and one.answer == answers[region.region_id]
        assert one.box_xyxy is not None
        if task == "rec_mask":
            assert overlap(one.box_xyxy, region.box_xyxy) > 0.7


def test_a_box_is_compared_with_every_region_as_the_task_scores_it(monkeypatch):
    record = images(1)[0]
    chosen, region = TASKS["rec_box"], record.regions[0]
    answer = "[100, 50, 820, 900]"
    monkeypatch.setattr(module, "generate", lambda *a: [Answer(answer, (1,), 0.5) for _ in a[2]])
    (found,) = find(toy.with_grammars(), toy.pixels(1), [record], [rec_query(chosen, 0, [record], (0, region), "it")])
    reading = chosen.parse(answer, record.width, record.height)
    own, *others = (chosen.score(reading, record, each, toy.card())["iou"] for each in record.regions)
    assert own > 0 and (found.iou, found.other_iou) == (own, max(others))


def test_bounding_box_surrounds_polygons_and_points():
    assert bounding_box(Reading(box_xyxy=(1.0, 2.0, 3.0, 4.0))) == (1.0, 2.0, 3.0, 4.0)
    assert bounding_box(Reading(points=((5.0, 1.0), (2.0, 8.0), (3.0, 3.0)))) == (2.0, 1.0, 5.0, 8.0)
    rings = (((0.0, 0.0), (4.0, 0.0), (4.0, 4.0)), ((9.0, 9.0), (7.0, 9.0), (9.0, 7.0)))
    assert bounding_box(Reading(polygons=rings)) == (0.0, 0.0, 9.0, 9.0)
    assert bounding_box(Reading(points=((5.0, 1.0),))) is None is bounding_box(Reading(text="a star"))


def test_round_trips_ask_for_the_expression_and_return_a_box_in_pixels(script):
    asked = script(lambda _: "the red disc", lambda question: "[250, 500, 750, 1000]" if "disc" in question else "[]")
    record = replace(images(1)[0], width=200, height=100)
    round_trips = run([record])
    assert asked[-1] == module.REC.templates[0].format(expression="the red disc")
    assert {each.found.box_xyxy for made in round_trips for each in made} == {(50.0, 50.0, 150.0, 100.0)}


def test_both_questions_begin_with_the_domain(script):
    asked = script(lambda _: "the red disc", lambda _: "[250, 500, 750, 1000]")
    domain = "This is a picture of the red disc."
    run([replace(record, domain=domain) for record in images(2)])
    assert asked[-1] == f"{domain} {module.REC.templates[0].format(expression='the red disc')}"
    assert all(question.startswith(f"{domain} ") for question in asked)


def test_an_answer_that_cannot_be_parsed_finds_nothing(script):
    script(lambda _: "the red disc", lambda _: "somewhere")
    assert all(each.found.box_xyxy is None for made in run(images(1)) for each in made)


def test_other_iou_is_0_for_a_region_alone_in_its_image(script):
    record = images(1)[0]
    record = replace(record, regions=(Region("r", (0.0, 0.0, 24.0, 48.0), "circle"),))
    script(lambda _: "the red disc", lambda _: "[0, 0, 500, 1000]")
    ((round_trip, *_),) = run([record])
    assert (round_trip.found.iou, round_trip.found.other_iou) == (pytest.approx(1), 0) and round_trip.returns(1 - 1e-9)


def test_round_trips_do_not_depend_on_the_rest_of_the_batch():
    records = images()
    together = run(records)
    alone = [round_trips for record in reversed(records) for round_trips in reversed(run([record]))][::-1]
    assert [[(each.words, each.found.box_xyxy) for each in made] for made in together] == [
        [(each.words, each.found.box_xyxy) for each in made] for made in alone
    ]
    for left, right in zip(together, alone, strict=True):
        assert [each.confidence for each in left] == pytest.approx([each.confidence for each in right], rel=1e-3)


def test_other_seeds_give_other_expressions():
    def words(seed: int) -> list[str]:
        return [each.words for made in run(images(1), replace(SAMPLING, seed=seed)) for each in made]

    assert words(5) == words(5) != words(6)
