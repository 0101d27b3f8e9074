"""Shorter forms: what may be left out, what is tried, and what is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import scripted
import toy
from hypothesis import given
from hypothesis import strategies as st

from vilam.inference import brevity as module
from vilam.inference.brevity import FORMS, ranked, shortened, shorter
from vilam.inference.round_trip import Found, Place, Trip
from vilam.inference.scoring import log_probabilities
from vilam.tasks import TASKS

HERE = Found(box_xyxy=(0, 0, 1, 1), iou=0.9)
ASTRAY = Found(box_xyxy=(0, 0, 1, 1), iou=0.1)


def trip(words: str, log_probability: float, found: Found = HERE) -> Trip:
    return Trip("", words, (1,), math.exp(log_probability), found)


def test_one_run_of_words_is_left_out():
    expected = ["the red star", "the red star on", "the red star top", "the star on top"]
    assert sorted(shorter("the red star on top", "star")) == expected
    assert shorter("star", "star") == [] == shorter("the red thing", "star")


@given(st.lists(st.sampled_from(["the", "red", "star", "left", "of"]), min_size=1, max_size=7))
def test_shorter_forms_are_shorter_begin_alike_and_keep_the_category(parts: list[str]) -> None:
    for form in shorter(" ".join(parts), "star"):
        left = form.split()
        assert left[0] == parts[0] and "star" in left and len(left) < len(parts)
        rest = iter(parts)
        assert all(word in rest for word in left)  # in their order
        assert any(left == parts[:a] + parts[b:] for a in range(len(parts)) for b in range(a, len(parts) + 1))


def order(trips: list[Trip], brevity: float) -> list[str]:
    return [each.words for each in ranked(trips, "star", 0.5, brevity)]


def test_the_fewest_likely_words_that_return_come_first():
    said = [trip("the red star", -1.0), trip("the star left", -4.0), trip("a star", -7.0)]
    assert order(said, 0.0) == ["the red star", "the star left", "a star"]
    assert order(said, 5.0) == ["the red star", "the star left", "a star"]  # as many words, but for the article
    assert order(said, 6.0) == ["a star", "the red star", "the star left"]
    assert order([*said, trip("the star", -6.5)], 6.0)[:2] == ["the star", "a star"]
    assert order([said[0], trip("the star", -2.0, ASTRAY)], 6.0) == ["the red star"]
    assert order([trip("it", -0.1), *said], 2.0)[0] == "the red star"  # names what it is
    assert order([trip("the big thing", -0.1), trip("it", -0.2)], 2.0) == ["it", "the big thing"]
    assert order([trip("a", -3.0, ASTRAY)], 5.0) == [] == order([], 5.0)


def places() -> list[Place]:
    return [(i, region) for i, source in enumerate(scripted.sources()) for region in source.record.regions]


def short_of(words: Sequence[str]) -> list[list[Trip]]:
    """The trips of every place after words were said of it that led somewhere; {} is its category."""
    records = [source.record for source in scripted.sources()]
    trips = [
        [Trip("What?", each.format(region.category), (1,), 0.5, ASTRAY) for each in words] for _, region in places()
    ]
    return shortened(scripted.traveller(), toy.model(), records, places(), trips, 0.5, 5.0)


def test_the_likeliest_shorter_forms_are_tried(monkeypatch):
    asked = scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    words = "the small red {} on the far left"
    tried = short_of([words])
    model, tokenizer = toy.model(), toy.tokenizer()
    for (index, region), (said, *more) in zip(places(), tried, strict=True):
        assert said.words == words.format(region.category) and len(more) == FORMS
        assert [form.confidence for form in more] != [0.5] * FORMS
        forms = shorter(said.words, region.category)
        given = [module.Given(0, "What?", tuple(tokenizer.encode_answer(form))) for form in forms]
        pixels = module.load_pixels([scripted.sources()[index].record.image], model.config)
        scores = [sum(each) for each in log_probabilities(model, tokenizer, pixels, given)]
        assert [form.log_probability for form in more] == pytest.approx(sorted(scores, reverse=True)[:FORMS], abs=1e-3)
        assert all(
            TASKS["rec_box"].templates[0].format(expression=form.words) in {a.question for a in asked} for form in more
        )
        assert all(form.found.answer == "[0, 0, 10, 10]" for form in more)


def test_what_leads_nowhere_or_names_no_category_is_not_shortened(monkeypatch):
    scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    assert all(len(tried) == 1 for tried in short_of(["the small red thing"]))
    records = [source.record for source in scripted.sources()]
    lost = [[Trip("What?", f"the red {region.category}", (1,), 0.5, Found())] for _, region in places()]
    assert shortened(scripted.traveller(), toy.model(), records, places(), lost, 0.5, 5.0) == lost


def test_the_category_alone_is_tried_where_it_tells_the_region(monkeypatch):
    scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    records = [source.record for source in scripted.sources()]
    for (index, region), (_, *more) in zip(places(), short_of(["the red {}"]), strict=True):
        alone = sum(other.category == region.category for other in records[index].regions) == 1
        assert [form.words for form in more] == [f"the {region.category}"] * alone
