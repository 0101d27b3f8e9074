"""Each expression of a scene fits only one thing, by an independent parser of the expressions."""

from __future__ import annotations

import re

import pytest

from vilam.data.records import EXPRESSION_KINDS
from vilam.data.scenes.compose import compose
from vilam.data.scenes.rng import SceneRng
from vilam.data.scenes.words import VisibleThing, describe

SIZE = 96
SYNONYMS = {"little": "small", "big": "large"}
SIDES = {
    "left": lambda x, y: x < 50,
    "right": lambda x, y: x > 50,
    "top": lambda x, y: y < 50,
    "bottom": lambda x, y: y > 50,
    "middle": lambda x, y: max(abs(x - 50), abs(y - 50)) < 22,
    "centre": lambda x, y: max(abs(x - 50), abs(y - 50)) < 22,
}
RELATIONS = {
    **{"left of": (0, -1), "right of": (0, 1)},
    **{"above": (1, -1), "over": (1, -1), "below": (1, 1), "under": (1, 1)},
}
ENDS = {
    **{"leftmost": (0, 1, 0), "rightmost": (0, -1, 0), "topmost": (1, 1, 0), "lowest": (1, -1, 0)},
    **{"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)},
}


def _scene(number: int) -> list[VisibleThing]:
    things = compose(SceneRng(7, "train", number), SIZE)
    return [
        VisibleThing(
            *one.appearance,
            tuple((one.centre[axis % 2] + way * one.radius) / 4 for axis, way in enumerate((-1, -1, 1, 1))),
        )
        for one in things
    ]


def _named(things: list[VisibleThing], phrase: str) -> set[int]:
    words = {SYNONYMS.get(word, word) for word in phrase.split()} - {"the", "thing", "object", "shape"}
    return {number for number, one in enumerate(things) if words <= {one.size, one.colour, one.texture, one.shape}}


def _percent(thing: VisibleThing) -> tuple[float, float]:
    return thing.centre[0] / SIZE * 100, thing.centre[1] / SIZE * 100


def _fits(things: list[VisibleThing], text: str) -> set[int]:
    """The things that the expression fits, without any margin."""
    if found := re.fullmatch(r"the (leftmost|rightmost|topmost|lowest) (.+)", text):
        axis, way, rank = ENDS[found[1]]
        return {sorted(_named(things, found[2]), key=lambda one: way * things[one].centre[axis])[rank]}
    if found := re.fullmatch(r"the (first|second|third) (.+) from the (\w+)", text):
        axis, way = ENDS[found[3]]
        rank = ("first", "second", "third").index(found[1])
        return {sorted(_named(things, found[2]), key=lambda one: way * things[one].centre[axis])[rank]}
    if found := re.fullmatch(r"(.+?) (?:to the )?(left of|right of|above|over|below|under) (the .+)", text):
        (anchor,) = _named(things, found[3])
        axis, way = RELATIONS[found[2]]
        start = _percent(things[anchor])[axis]
        return {one for one in _named(things, found[1]) - {anchor} if way * (_percent(things[one])[axis] - start) > 3}
    if found := re.fullmatch(r"(.+?) (?:on|at|in) the ([a-z ]+)", text):
        tests = [SIDES[word] for word in found[2].split() if word in SIDES]
        return {one for one in _named(things, found[1]) if all(test(*_percent(things[one])) for test in tests)}
    return _named(things, text)


@pytest.mark.parametrize("start", range(0, 200, 50))
def test_every_expression_fits_only_its_thing(start: int) -> None:
    for number in range(start, start + 50):
        things = _scene(number)
        for index, expressions in enumerate(describe(SceneRng(1, "words", number), things, SIZE)):
            for expression in expressions:
                assert _fits(things, expression.text) == {index}, (number, expression.text)


def test_things_have_three_to_five_expressions_of_all_kinds_in_few_words() -> None:
    words, kinds = set(), set()
    for number in range(60):
        for expressions in describe(SceneRng(2, "words", number), _scene(number), SIZE):
            assert 3 <= len(expressions) <= 5
            assert len({one.text for one in expressions}) == len(expressions)
            words |= {word for one in expressions for word in one.text.split()}
            kinds |= {one.kind for one in expressions}
    assert len(words) < 120
    assert kinds == set(EXPRESSION_KINDS) - {"free"}
    assert all(word.isalpha() for word in words)
