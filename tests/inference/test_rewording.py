"""Other forms: what is put right, what may be left out, what is tried, and what is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import scripted
import toy
from hypothesis import given
from hypothesis import strategies as st

from vilam.data.records import ImageRecord, Region
from vilam.inference import rewording as module
from vilam.inference.rewording import FORMS, corrected, ranked, reworded, shorter
from vilam.inference.round_trip import Found, Place, Trip
from vilam.inference.scoring import log_probabilities
from vilam.tasks import TASKS

HERE = Found(box_xyxy=(0, 0, 1, 1), iou=0.9)
ASTRAY = Found(box_xyxy=(0, 0, 1, 1), iou=0.1)


def trip(words: str, log_probability: float, found: Found = HERE) -> Trip:
    return Trip("", words, (1,), math.exp(log_probability), found)


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("the red star", "the red red blood cell"),
        ("The STAR left of the start", "The red blood cell left of the start"),
        ("the cell over the star", "the red blood cell over the star"),  # the first that is named
        ("the red blood cell left of a star", "the red blood cell left of a star"),
        ("the white blood cell", "the red blood cell"),
        ("the red thing", "the red thing"),
    ],
)
def test_another_category_is_put_right(words, right):
    categories = ("cell", "red blood cell", "star", "white blood cell")
    assert corrected(words, "red blood cell", categories) == right


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


def order(trips: list[Trip], samples: Sequence[str] = ()) -> list[str]:
    return [each.words for each in ranked(trips, [trip(words, -1.0) for words in samples], "star", 0.5)]


def test_the_words_that_most_samples_agree_on_come_first():
    red, star, left = trip("the red star", -1.0), trip("the star", -4.0), trip("A star, left", -7.0)
    samples = ["the blue star", "the red star", "the star on the left", "the left star", "the red arrow left"]
    # of five samples star has four, left three, red two
    assert order([red, star, left], samples) == [left.words, star.words, red.words]
    assert order([red, star, left], ["the red star"]) == [red.words, star.words, left.words]
    assert order([star, trip("a star", -3.0)], samples) == [
        "a star",
        "the star",
    ]  # the likelier
    assert order([trip("the left star", -9.0, ASTRAY), red], samples) == [red.words]
    assert order([trip("the left arrow", -0.1), red], samples) == [red.words, "the left arrow"]  # names what it is
    assert order([trip("a", -3.0, ASTRAY)], samples) == [] == order([])


def records() -> list[ImageRecord]:
    return [source.record for source in scripted.sources()]


def places() -> list[Place]:
    return [(i, region) for i, source in enumerate(scripted.sources()) for region in source.record.regions]


def other_of(words: Sequence[str], found: Found = ASTRAY, max_words: int = 30) -> list[list[Trip]]:
    """The trips of every place after words were said of it that led somewhere; {} is its category, {other} another."""
    trips = [
        [Trip("What?", each.format(region.category, other=other(region)), (1, 2, 3), 0.5, found) for each in words]
        for _, region in places()
    ]
    return reworded(scripted.traveller(), toy.model(), records(), places(), trips, 0.5, max_words)


def other(region: Region) -> str:
    """A category that the region is not of."""
    return next(each for each in toy.card().categories if each != region.category)


def test_the_likeliest_shorter_forms_are_tried(monkeypatch):
    asked = scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    words = "the small red {} on the far left"
    tried = other_of([words])
    model, tokenizer = toy.model(), toy.tokenizer()
    for (index, region), (said, *more) in zip(places(), tried, strict=True):
        assert said.words == words.format(region.category) and len(more) == FORMS
        assert [form.confidence for form in more] != [0.5] * FORMS
        forms = shorter(said.words, region.category)
        given = [module.Given(0, "What?", tuple(tokenizer.encode_answer(form))) for form in forms]
        pixels = model.see([scripted.sources()[index].record.image])
        scores = [sum(each) for each in log_probabilities(model, tokenizer, pixels, given)]
        assert [form.log_probability for form in more] == pytest.approx(sorted(scores, reverse=True)[:FORMS], abs=1e-3)
        assert all(
            TASKS["rec_box"].templates[0].format(expression=form.words) in {a.question for a in asked} for form in more
        )
        assert all(form.found.answer == "[0, 0, 10, 10]" for form in more)


def test_forms_are_asked_for_behind_the_domain(monkeypatch):
    asked = scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    domain = "This is a picture of shapes."
    images = [replace(record, domain=domain) for record in records()]
    said = [[Trip("What?", f"the red {region.category} up", (1, 2, 3), 0.5, ASTRAY)] for _, region in places()]
    reworded(scripted.traveller(), toy.model(), images, places(), said, 0.5, 30)
    assert asked and all(each.question.startswith(f"{domain} Where is ") for each in asked)


def test_what_names_no_category_or_was_cut_off_has_no_other_form(monkeypatch):
    scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    assert all(len(tried) == 1 for tried in other_of(["the small red thing"]))
    assert all(len(tried) == 1 for tried in other_of(["the red {}"], max_words=2))


def test_words_that_name_another_category_are_tried_with_the_right_one(monkeypatch):
    scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    for (_, region), (said, *more) in zip(places(), other_of(["the {other} up"], Found()), strict=True):
        words = f"the {region.category} up"
        assert said.found == Found() and words in [form.words for form in more]
        assert {form.words for form in more} <= {words, *shorter(words, region.category)}
        assert all(form.found.answer == "[0, 0, 10, 10]" for form in more)


def test_the_forms_are_of_what_returns_before_what_is_likelier(monkeypatch):
    scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    for found, word in ((HERE, "big"), (ASTRAY, "red")):
        trips = [
            [
                Trip("", f"the red {r.category} up", (1,), 0.9, ASTRAY),
                Trip("", f"the big {r.category} up", (1,), 0.5, found),
            ]
            for _, r in places()
        ]
        tried = reworded(scripted.traveller(), toy.model(), records(), places(), trips, 0.5, 30)
        said = {part for _, _, *more in tried for form in more for part in form.words.split()}
        assert said & {"red", "big"} == {word}


def test_the_category_alone_is_tried_where_it_tells_the_region(monkeypatch):
    scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    for (index, region), (_, *more) in zip(places(), other_of(["the red {}"]), strict=True):
        alone = sum(each.category == region.category for each in records()[index].regions) == 1
        assert [form.words for form in more] == [f"the {region.category}"] * alone
