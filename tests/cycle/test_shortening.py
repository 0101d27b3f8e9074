"""Other forms of expressions: correction, shortening, and the choice among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import scripted
import toy
from hypothesis import given
from hypothesis import strategies as st

from vilam.cycle import shortening as module
from vilam.cycle.round_trip import BatchRegion, Found, RoundTrip
from vilam.cycle.shortening import FORMS, corrected, ranked, shorter, with_other_forms
from vilam.data.records import ImageRecord, Region
from vilam.inference.scoring import log_probabilities
from vilam.tasks import TASKS

HERE = Found(box_xyxy=(0, 0, 1, 1), iou=0.9)
ELSEWHERE = Found(box_xyxy=(0, 0, 1, 1), iou=0.1)


def round_trip(words: str, log_probability: float, found: Found = HERE) -> RoundTrip:
    return RoundTrip("", words, (1,), math.exp(log_probability), found)


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("the red star", "the red red blood cell"),
        ("The STAR left of the start", "The red blood cell left of the start"),
        ("the cell over the star", "the red blood cell over the star"),  # the first one that it names
        ("the red blood cell left of a star", "the red blood cell left of a star"),
        ("the white blood cell", "the red blood cell"),
        ("the red thing", "the red thing"),
    ],
)
def test_another_category_is_corrected(words, right):
    categories = ("cell", "red blood cell", "star", "white blood cell")
    assert corrected(words, "red blood cell", categories) == right


def test_the_longest_name_of_a_category_is_replaced():
    assert corrected("the cell wall", "star", ("cell", "cell wall", "star")) == "the star"


def test_shorter_forms_leave_out_one_run_of_words():
    expected = ["the red star", "the red star on", "the red star top", "the star on top"]
    assert sorted(shorter("the red star on top", "star")) == expected
    assert "the star" in shorter("the big red star", "star")  # two words after the first
    assert sorted(shorter("star on top", "star")) == ["star", "star on", "star top"]
    assert shorter("star", "star") == [] == shorter("the red thing", "star")


@given(st.lists(st.sampled_from(["the", "red", "star", "left", "of"]), min_size=1, max_size=7))
def test_shorter_forms_keep_the_first_word_and_the_category(parts: list[str]) -> None:
    for form in shorter(" ".join(parts), "star"):
        left = form.split()
        assert left[0] == parts[0] and "star" in left and len(left) < len(parts)
        rest = iter(parts)
        assert all(word in rest for word in left)  # in their order
        assert any(left == parts[:a] + parts[b:] for a in range(len(parts)) for b in range(a, len(parts) + 1))


def order(round_trips: list[RoundTrip], samples: Sequence[str] = ()) -> list[str]:
    return [each.words for each in ranked(round_trips, [round_trip(words, -1.0) for words in samples], "star", 0.5)]


def test_the_expression_on_which_most_samples_agree_comes_first():
    red, star, left = round_trip("the red star", -1.0), round_trip("the star", -4.0), round_trip("A star, left", -7.0)
    samples = ["the blue star", "the red star", "the star on the left", "the left star", "the red arrow left"]
    # of five samples star has four, left three, red two
    assert order([red, star, left], samples) == [left.words, star.words, red.words]
    assert order([red, star, left], ["the red star"]) == [red.words, star.words, left.words]
    assert order([star, round_trip("a star", -3.0)], samples) == [
        "a star",
        "the star",
    ]  # the more probable
    assert order([round_trip("the left star", -9.0, ELSEWHERE), red], samples) == [red.words]
    assert order([round_trip("the left arrow", -0.1), red], samples) == [
        red.words,
        "the left arrow",
    ]  # it names the category
    assert order([round_trip("a", -3.0, ELSEWHERE)], samples) == [] == order([])


def records() -> list[ImageRecord]:
    return [source.record for source in scripted.sources()]


def regions() -> list[BatchRegion]:
    return [(i, region) for i, source in enumerate(scripted.sources()) for region in source.record.regions]


def other_of(words: Sequence[str], found: Found = ELSEWHERE, max_tokens: int = 30) -> list[list[RoundTrip]]:
    """The round trips of every region with the expressions ``words``; {} is its category, {other} another one."""
    round_trips = [
        [RoundTrip("What?", each.format(region.category, other=other(region)), (1, 2, 3), 0.5, found) for each in words]
        for _, region in regions()
    ]
    return with_other_forms(toy.with_grammars(), records(), regions(), round_trips, 0.5, max_tokens)


def other(region: Region) -> str:
    """A category that the region does not have."""
    return next(each for each in toy.card().categories if each != region.category)


def test_the_most_probable_shorter_forms_are_tried(monkeypatch):
    asked = scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    words = "the small red {} on the far left"
    tried = other_of([words])
    model = toy.with_grammars()
    for (index, region), (first, *more) in zip(regions(), tried, strict=True):
        assert first.words == words.format(region.category) and len(more) == FORMS
        assert [form.confidence for form in more] != [0.5] * FORMS
        forms = shorter(first.words, region.category)
        targets = [module.Target(0, "What?", tuple(model.tokenizer.encode_answer(form))) for form in forms]
        images = model.network.preprocess([scripted.sources()[index].record.image])
        scores = [sum(each) for each in log_probabilities(model, images, targets)]
        assert [form.log_probability for form in more] == pytest.approx(sorted(scores, reverse=True)[:FORMS], abs=1e-3)
        assert all(
            TASKS["rec_box"].templates[0].format(expression=form.words) in {a.question for a in asked} for form in more
        )
        assert all(form.found.answer == "[0, 0, 10, 10]" for form in more)


def test_questions_about_other_forms_begin_with_the_domain(monkeypatch):
    asked = scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    domain = "This is a picture of shapes."
    images = [replace(record, domain=domain) for record in records()]
    round_trips = [
        [RoundTrip("What?", f"the red {region.category} up", (1, 2, 3), 0.5, ELSEWHERE)] for _, region in regions()
    ]
    with_other_forms(toy.with_grammars(), images, regions(), round_trips, 0.5, 30)
    assert asked and all(each.question.startswith(f"{domain} Where is ") for each in asked)


def test_an_expression_without_a_category_or_cut_off_has_no_other_form(monkeypatch):
    scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    assert all(len(tried) == 1 for tried in other_of(["the small red thing"]))
    assert all(len(tried) == 1 for tried in other_of(["the red {}"], max_tokens=2))


def test_an_expression_with_another_category_is_tried_with_its_own(monkeypatch):
    scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    for (_, region), (first, *more) in zip(regions(), other_of(["the {other} up"], Found()), strict=True):
        words = f"the {region.category} up"
        assert first.found == Found() and words in [form.words for form in more]
        assert {form.words for form in more} <= {words, *shorter(words, region.category)}
        assert all(form.found.answer == "[0, 0, 10, 10]" for form in more)


def test_the_forms_are_those_of_an_expression_that_returns_if_there_is_one(monkeypatch):
    scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    for found, word in ((HERE, "big"), (ELSEWHERE, "red")):
        round_trips = [
            [
                RoundTrip("", f"the red {r.category} up", (1,), 0.9, ELSEWHERE),
                RoundTrip("", f"the big {r.category} up", (1,), 0.5, found),
            ]
            for _, r in regions()
        ]
        tried = with_other_forms(toy.with_grammars(), records(), regions(), round_trips, 0.5, 30)
        found = {part for _, _, *more in tried for form in more for part in form.words.split()}
        assert found & {"red", "big"} == {word}


def test_the_category_alone_is_tried_if_it_means_one_region(monkeypatch):
    scripted.script(monkeypatch, lambda _: "", lambda _: "[0, 0, 10, 10]")
    for (index, region), (_, *more) in zip(regions(), other_of(["the red {}"]), strict=True):
        alone = sum(each.category == region.category for each in records()[index].regions) == 1
        assert [form.words for form in more] == [f"the {region.category}"] * alone
