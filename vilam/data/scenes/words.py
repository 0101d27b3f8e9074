"""Expressions of a generated scene: each fits exactly one thing, with a margin if it names a position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

from vilam.data.records import Expression
from vilam.data.scenes.rng import SceneRng

MARGIN = 9
"""Percent of the image's side by which positions must differ for an expression to distinguish them."""

ORDINALS = ("first", "second", "third")
ENDS = (("left", "leftmost"), ("right", "rightmost"), ("top", "topmost"), ("bottom", "lowest"))
RELATIONS = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
POSITIONS = {
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
"""Left, top, right and bottom border of each position in percent of the image's side; 999 means no border."""

POSITION_PHRASES = {
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
GENERIC = 25
"""Percent of the appearances that are also offered with one of NOUNS instead of the shape."""


@dataclass(frozen=True, slots=True)
class VisibleThing:
    """What an expression can refer to: the appearance of a thing, and the box of its visible part in pixels."""

    shape: str
    colour: str
    texture: str
    size: str
    box: tuple[float, float, float, float]

    @property
    def appearance(self) -> dict[str, str]:
        """Its size, colour, texture and shape, by these names."""
        return {"size": self.size, "colour": self.colour, "texture": self.texture, "shape": self.shape}

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the box in pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


Attributes = dict[str, str]
"""Some of size, colour, texture and shape, with the values that a thing must have."""


class Phrase(NamedTuple):
    """The parts of an expression: ``the <before> <attributes> <after>``."""

    before: str
    attributes: Attributes
    after: str


def describe(rng: SceneRng, things: list[VisibleThing], image_size: int) -> list[list[Expression]]:
    """Three to five expressions for each thing, of as many kinds as possible."""
    scene = _Scene(rng, things, image_size)
    return [scene.expressions(index) for index in range(len(things))]


class _Scene:
    def __init__(self, rng: SceneRng, things: list[VisibleThing], image_size: int) -> None:
        self.rng = rng
        self.things = things
        self.margin = image_size * MARGIN / 100
        self.centres = [thing.centre for thing in things]
        self.depths = [_depths(centre, image_size) for centre in self.centres]
        self.choices = [list(self._choices(thing)) for thing in things]
        self.names = [self._name(index) for index in range(len(things))]

    def expressions(self, index: int) -> list[Expression]:
        """One of each kind that is possible, then more until there are enough."""
        by_kind = {
            "attribute": self._attributes(index),
            "position": list(self._positions(index)),
            "order": list(self._orders(index)),
            "relation": list(self._relations(index)),
        }
        first = [(kind, self.rng.pick(phrases)) for kind, phrases in by_kind.items() if phrases]
        others = [(kind, one) for kind, phrases in by_kind.items() for one in phrases if (kind, one) not in first]
        wanted = self.rng.between(3, 5)
        chosen = self.rng.sample(first, wanted) + self.rng.sample(others, max(0, wanted - len(first)))
        return [self._expression(kind, phrase) for kind, phrase in chosen]

    def _expression(self, kind: str, phrase: Phrase) -> Expression:
        words = ("the", phrase.before, self._noun_phrase(phrase.attributes), phrase.after)
        only_class = kind == "attribute" and phrase.attributes.keys() == {"shape"}
        return Expression(" ".join(filter(None, words)), "class" if only_class else kind, "generated")

    def _noun_phrase(self, attributes: Attributes) -> str:
        size = self.rng.pick(SIZE_WORDS[attributes["size"]]) if "size" in attributes else ""
        colour, texture = attributes.get("colour", ""), attributes.get("texture", "")
        if texture == "plain":  # "plain red", but "red striped"
            colour, texture = texture, colour
        noun = attributes.get("shape") or self.rng.pick(NOUNS)
        return " ".join(filter(None, (size, colour, texture, noun)))

    def _matches(self, attributes: Attributes) -> list[int]:
        wanted = attributes.items()
        return [index for index, thing in enumerate(self.things) if wanted <= thing.appearance.items()]

    def _choices(self, thing: VisibleThing) -> Iterator[tuple[int, Attributes, list[int]]]:
        """Numbers of words before the noun, attributes that describe a thing, and the things that they fit."""
        names = ["colour", "texture"] if thing.size == "medium" else ["size", "colour", "texture"]
        for count in range(len(names) + 1):
            for chosen in combinations(names, count):
                attributes = {name: thing.appearance[name] for name in chosen}
                fitting = self._matches(attributes)
                of_shape = [one for one in fitting if self._shape(one) == thing.shape]
                yield count, attributes | {"shape": thing.shape}, of_shape
                if count and self.rng.chance(GENERIC):
                    yield count, attributes, fitting

    def _shape(self, index: int) -> str:
        return self.things[index].shape

    def _short_attributes(self, index: int) -> list[tuple[Attributes, list[int]]]:
        """Attributes of at most one word before the noun, with the other things that they fit."""
        return [
            (attributes, [other for other in fitting if other != index])
            for count, attributes, fitting in self.choices[index]
            if count <= 1
        ]

    def _attributes(self, index: int) -> list[Phrase]:
        """The shortest attributes that fit this thing only, and those of one word more."""
        fitting = [attributes for _, attributes, things in self.choices[index] if things == [index]]
        least = min(map(len, fitting), default=0)
        return [Phrase("", attributes, "") for attributes in fitting if len(attributes) <= least + 1]

    def _positions(self, index: int) -> Iterator[Phrase]:
        """Positions where this thing clearly is, and no other of the same attributes is nearly there."""
        names = [name for name, depth in self.depths[index].items() if depth >= self.margin]
        for attributes, others in self._short_attributes(index):
            for name in names:
                if all(self.depths[other][name] <= -self.margin for other in others):
                    yield Phrase("", attributes, self.rng.pick(POSITION_PHRASES[name]))

    def _orders(self, index: int) -> Iterator[Phrase]:
        """Its rank along an axis among the things with the same attributes, if all of them are clearly apart there."""
        for attributes in ({"shape": self._shape(index)}, {"colour": self.things[index].colour}, {}):
            members = self._matches(attributes)
            for axis, (start, end) in enumerate((ENDS[:2], ENDS[2:])):
                ranked = sorted(members, key=lambda member: self.centres[member][axis])
                if len(members) > 1 and self._all_apart(ranked, axis):
                    rank = ranked.index(index)
                    yield from _ranks(rank, start, attributes)
                    yield from _ranks(len(ranked) - 1 - rank, end, attributes)

    def _all_apart(self, ranked: list[int], axis: int) -> bool:
        coordinates = [self.centres[member][axis] for member in ranked]
        return all(after - before >= self.margin for before, after in pairwise(coordinates))

    def _relations(self, index: int) -> Iterator[Phrase]:
        """Its side of another thing that has a name, if no other thing of its attributes could be meant."""
        for anchor, name in enumerate(self.names):
            relation = self._relation(index, anchor)
            if name is None or relation is None:
                continue
            for attributes, others in self._short_attributes(index):
                if not any(other != anchor and self._may_be(other, anchor, relation) for other in others):
                    yield Phrase("", attributes, f"{self.rng.pick(RELATIONS[relation])} the {name}")

    def _name(self, index: int) -> str | None:
        """The noun phrase of the shortest attributes, with the shape, that fit this thing only; None without any."""
        fitting = [
            attributes
            for count, attributes, things in self.choices[index]
            if count <= 2 and "shape" in attributes and things == [index]
        ]
        return self._noun_phrase(min(fitting, key=len)) if fitting else None

    def _relation(self, index: int, anchor: int) -> str | None:
        """The side of the anchor on which the thing clearly is; None if there is none, as for the anchor itself."""
        x, y = self._offset(index, anchor)
        if abs(x) >= self.margin and abs(y) <= abs(x) / 2:
            return "right" if x > 0 else "left"
        if abs(y) >= self.margin and abs(x) <= abs(y) / 2:
            return "below" if y > 0 else "above"
        return None

    def _may_be(self, index: int, anchor: int, relation: str) -> bool:
        """Whether the thing is even roughly on that side of the anchor."""
        x, y = self._offset(index, anchor)
        along = {"right": x, "left": -x, "below": y, "above": -y}[relation]
        return along > self.margin / 3

    def _offset(self, index: int, anchor: int) -> tuple[float, float]:
        (x, y), (from_x, from_y) = self.centres[index], self.centres[anchor]
        return x - from_x, y - from_y


def _depths(centre: tuple[float, float], image_size: int) -> dict[str, float]:
    """How far inside each position a point is, in pixels; negative outside."""
    x, y = centre
    percent = image_size / 100
    return {
        name: min(x - left * percent, y - top * percent, right * percent - x, bottom * percent - y)
        for name, (left, top, right, bottom) in POSITIONS.items()
    }


def _ranks(rank: int, end: tuple[str, str], attributes: Attributes) -> Iterator[Phrase]:
    side, most = end
    if rank == 0:
        yield Phrase(most, attributes, "")
    if rank < len(ORDINALS):
        yield Phrase(ORDINALS[rank], attributes, f"from the {side}")
