"""Expressions of a generated scene: each fits exactly one of its things, by a clear margin where places count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

from vilam.data.records import Expression
from vilam.data.scenes.rng import SceneRng

CLEAR = 9
"""Percent of the image's side by which places must differ for words to tell them apart."""

ORDINALS = ("first", "second", "third")
ENDS = (("left", "leftmost"), ("right", "rightmost"), ("top", "topmost"), ("bottom", "lowest"))
RELATIONS = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
PLACES = {
    "left": (-999, -999, 45, 999),
    "right": (55, -999, 999, 999),
    "top": (-999, -999, 999, 45),
    "bottom": (-999, 55, 999, 999),
    "top left": (-999, -999, 45, 45),
    "top right": (55, -999, 999, 45),
    "bottom left": (-999, 55, 45, 999),
    "bottom right": (55, 55, 999, 999),
    "middle": (28, 28, 72, 72),
}
"""Left, top, right and bottom border of each place in percent of the image's side; 999 is open."""

PLACE_WORDS = {
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
    "top left": ("at the top left", "in the top left corner"),
    "top right": ("at the top right", "in the top right corner"),
    "bottom left": ("at the bottom left", "in the bottom left corner"),
    "bottom right": ("at the bottom right", "in the bottom right corner"),
    "middle": ("in the middle", "in the centre"),
}
SIZE_WORDS = {"small": ("small", "little"), "large": ("large", "big")}
NOUNS = ("thing", "object", "shape")
BARE = 25
"""Percent of the looks that are also offered with one of NOUNS instead of the shape."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What words can speak of: looks, and the box (pixels) of what is seen."""

    shape: str
    colour: str
    texture: str
    size: str
    box: tuple[float, float, float, float]

    @property
    def words(self) -> dict[str, str]:
        """Its looks by name."""
        return {"size": self.size, "colour": self.colour, "texture": self.texture, "shape": self.shape}

    @property
    def middle(self) -> tuple[float, float]:
        """Centre of the box in pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


Look = dict[str, str]
"""Some of size, colour, texture and shape, with the values that a thing must have."""


class Phrase(NamedTuple):
    """An expression before it is worded: ``the <before> <look> <after>``."""

    before: str
    look: Look
    after: str


def describe(dice: SceneRng, things: list[Seen], image_size: int) -> list[list[Expression]]:
    """Three to five expressions for each thing, of as many kinds as fit it."""
    scene = _Scene(dice, things, image_size)
    return [scene.expressions(index) for index in range(len(things))]


class _Scene:
    def __init__(self, dice: SceneRng, things: list[Seen], image_size: int) -> None:
        self.dice = dice
        self.things = things
        self.clear = image_size * CLEAR / 100
        self.middles = [thing.middle for thing in things]
        self.depths = [_depths(middle, image_size) for middle in self.middles]
        self.looks = [list(self._looks(thing)) for thing in things]
        self.names = [self._name(index) for index in range(len(things))]

    def expressions(self, index: int) -> list[Expression]:
        """One of each kind that can be said, then more until there are enough."""
        ways = {
            "attribute": self._attributes(index),
            "position": list(self._positions(index)),
            "order": list(self._orders(index)),
            "relation": list(self._relations(index)),
        }
        first = [(kind, self.dice.pick(phrases)) for kind, phrases in ways.items() if phrases]
        others = [(kind, one) for kind, phrases in ways.items() for one in phrases if (kind, one) not in first]
        wanted = self.dice.between(3, 5)
        chosen = self.dice.sample(first, wanted) + self.dice.sample(others, max(0, wanted - len(first)))
        return [self._expression(kind, phrase) for kind, phrase in chosen]

    def _expression(self, kind: str, phrase: Phrase) -> Expression:
        words = ("the", phrase.before, self._say(phrase.look), phrase.after)
        only_class = kind == "attribute" and phrase.look.keys() == {"shape"}
        return Expression(" ".join(filter(None, words)), "class" if only_class else kind, "generated")

    def _say(self, look: Look) -> str:
        size = self.dice.pick(SIZE_WORDS[look["size"]]) if "size" in look else ""
        colour, texture = look.get("colour", ""), look.get("texture", "")
        if texture == "plain":  # "plain red", but "red striped"
            colour, texture = texture, colour
        noun = look.get("shape") or self.dice.pick(NOUNS)
        return " ".join(filter(None, (size, colour, texture, noun)))

    def _matches(self, look: Look) -> list[int]:
        wanted = look.items()
        return [index for index, thing in enumerate(self.things) if wanted <= thing.words.items()]

    def _looks(self, thing: Seen) -> Iterator[tuple[int, Look, list[int]]]:
        """Ways to speak of a thing, by the words before the noun, with the things that each fits."""
        names = ["colour", "texture"] if thing.size == "medium" else ["size", "colour", "texture"]
        for count in range(len(names) + 1):
            for chosen in combinations(names, count):
                look = {name: thing.words[name] for name in chosen}
                bare = self._matches(look)
                yield count, look | {"shape": thing.shape}, [one for one in bare if self._shape(one) == thing.shape]
                if count and self.dice.chance(BARE):
                    yield count, look, bare

    def _shape(self, index: int) -> str:
        return self.things[index].shape

    def _short_looks(self, index: int) -> list[tuple[Look, list[int]]]:
        """Looks of one word before the noun, at most, with the other things that they fit."""
        return [
            (look, [other for other in fitting if other != index])
            for count, look, fitting in self.looks[index]
            if count <= 1
        ]

    def _attributes(self, index: int) -> list[Phrase]:
        """The shortest looks that fit this thing alone, and those of one word more."""
        fitting = [look for _, look, things in self.looks[index] if things == [index]]
        least = min(map(len, fitting), default=0)
        return [Phrase("", look, "") for look in fitting if len(look) <= least + 1]

    def _positions(self, index: int) -> Iterator[Phrase]:
        """Places that this thing clearly has and no other of the same look comes near to."""
        places = [name for name, depth in self.depths[index].items() if depth >= self.clear]
        for look, others in self._short_looks(index):
            for name in places:
                if all(self.depths[other][name] <= -self.clear for other in others):
                    yield Phrase("", look, self.dice.pick(PLACE_WORDS[name]))

    def _orders(self, index: int) -> Iterator[Phrase]:
        """Its rank among the things of one look along a side, where all of them are clearly apart on that axis."""
        for look in ({"shape": self._shape(index)}, {"colour": self.things[index].colour}, {}):
            members = self._matches(look)
            for axis, (start, end) in enumerate((ENDS[:2], ENDS[2:])):
                ranked = sorted(members, key=lambda member: self.middles[member][axis])
                if len(members) > 1 and self._all_apart(ranked, axis):
                    rank = ranked.index(index)
                    yield from _ranks(rank, start, look)
                    yield from _ranks(len(ranked) - 1 - rank, end, look)

    def _all_apart(self, ranked: list[int], axis: int) -> bool:
        places = [self.middles[member][axis] for member in ranked]
        return all(after - before >= self.clear for before, after in pairwise(places))

    def _relations(self, index: int) -> Iterator[Phrase]:
        """Where it lies from another thing that words can name, when no other of its look could be meant."""
        for anchor, name in enumerate(self.names):
            relation = self._relation(index, anchor)
            if name is None or relation is None:
                continue
            for look, others in self._short_looks(index):
                if not any(other != anchor and self._may_be(other, anchor, relation) for other in others):
                    yield Phrase("", look, f"{self.dice.pick(RELATIONS[relation])} the {name}")

    def _name(self, index: int) -> str | None:
        """The shortest look with its shape that fits this thing alone, in words."""
        fitting = [
            look for count, look, things in self.looks[index] if count <= 2 and "shape" in look and things == [index]
        ]
        return self._say(min(fitting, key=len)) if fitting else None

    def _relation(self, index: int, anchor: int) -> str | None:
        """The one side of the anchor on which the thing clearly lies; None for itself."""
        x, y = self._offset(index, anchor)
        if abs(x) >= self.clear and abs(y) <= abs(x) / 2:
            return "right" if x > 0 else "left"
        if abs(y) >= self.clear and abs(x) <= abs(y) / 2:
            return "below" if y > 0 else "above"
        return None

    def _may_be(self, index: int, anchor: int, relation: str) -> bool:
        """Whether someone could say that the thing lies on that side of the anchor, however loosely."""
        x, y = self._offset(index, anchor)
        along = {"right": x, "left": -x, "below": y, "above": -y}[relation]
        return along > self.clear / 3

    def _offset(self, index: int, anchor: int) -> tuple[float, float]:
        (x, y), (from_x, from_y) = self.middles[index], self.middles[anchor]
        return x - from_x, y - from_y


def _depths(middle: tuple[float, float], image_size: int) -> dict[str, float]:
    """How far inside each place a point lies, in pixels; negative outside."""
    x, y = middle
    percent = image_size / 100
    return {
        name: min(x - left * percent, y - top * percent, right * percent - x, bottom * percent - y)
        for name, (left, top, right, bottom) in PLACES.items()
    }


def _ranks(rank: int, end: tuple[str, str], look: Look) -> Iterator[Phrase]:
    side, most = end
    if rank == 0:
        yield Phrase(most, look, "")
    if rank < len(ORDINALS):
        yield Phrase(ORDINALS[rank], look, f"from the {side}")
