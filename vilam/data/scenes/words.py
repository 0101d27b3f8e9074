"""Expressions of a generated scene: each fits exactly one of its things, by a clear margin where places count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

from vilam.data.records import Expression
from vilam.data.scenes.dice import Dice

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
    def middle(self) -> tuple[float, float]:
        """Centre of the box in pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


Look = dict[str, str]
"""Some of size, colour, texture and shape, with the values that a thing must have."""


def describe(dice: Dice, things: list[Seen], image_size: int) -> list[list[Expression]]:
    """Up to five expressions for each thing, of as many kinds as fit it."""
    scene = _Scene(dice, things, image_size)
    return [scene.expressions(index) for index in range(len(things))]


class _Scene:
    def __init__(self, dice: Dice, things: list[Seen], image_size: int) -> None:
        self.dice = dice
        self.things = things
        self.clear = image_size * CLEAR / 100
        self.image_size = image_size
        self.middles = [thing.middle for thing in things]
        self.matching: dict[tuple[tuple[str, str], ...], list[int]] = {}

    def expressions(self, index: int) -> list[Expression]:
        """One of each kind that can be said, then more until there are enough, without repeats."""
        ways = {
            "attribute": self._attributes(index),
            "position": list(self._positions(index)),
            "order": list(self._orders(index)),
            "relation": list(self._relations(index)),
        }
        first = [(kind, self.dice.pick(texts)) for kind, texts in ways.items() if texts]
        others = [(kind, text) for kind, texts in ways.items() for text in texts if (kind, text) not in first]
        wanted = self.dice.between(3, 5)
        chosen = first + self.dice.sample(others, max(0, wanted - len(first)))
        return [Expression(text, self._kind(index, kind, text), "generated") for kind, text in chosen[:wanted]]

    def _kind(self, index: int, kind: str, text: str) -> str:
        return "class" if text == f"the {self.things[index].shape}" else kind

    def _matches(self, look: Look) -> list[int]:
        key = tuple(look.items())
        if key not in self.matching:
            self.matching[key] = [
                index
                for index, thing in enumerate(self.things)
                if all(getattr(thing, name) == value for name, value in key)
            ]
        return self.matching[key]

    def _say(self, look: Look) -> str:
        size = self.dice.pick(SIZE_WORDS[look["size"]]) if "size" in look else ""
        colour, texture = look.get("colour", ""), look.get("texture", "")
        if texture == "plain":  # "plain red", but "red striped"
            colour, texture = texture, colour
        noun = look.get("shape") or self.dice.pick(NOUNS)
        return " ".join(word for word in (size, colour, texture, noun) if word)

    def _looks(self, index: int, most: int) -> Iterator[Look]:
        """Looks of a thing of up to ``most`` words before the noun, with and without its shape."""
        thing = self.things[index]
        names = ["colour", "texture"] if thing.size == "medium" else ["size", "colour", "texture"]
        for count in range(most + 1):
            for chosen in combinations(names, count):
                look = {name: getattr(thing, name) for name in chosen}
                yield look | {"shape": thing.shape}
                if count and self.dice.chance(BARE):
                    yield look

    def _attributes(self, index: int) -> list[str]:
        """The shortest looks that fit this thing alone, and those of one word more."""
        fitting = [look for look in self._looks(index, 3) if self._matches(look) == [index]]
        least = min((len(look) for look in fitting), default=0)
        return [f"the {self._say(look)}" for look in fitting if len(look) <= least + 1]

    def _positions(self, index: int) -> Iterator[str]:
        """Places that this thing clearly has and no other of the same look comes near to."""
        for look in self._looks(index, 1):
            others = [other for other in self._matches(look) if other != index]
            for name in self._places(index):
                if not any(self._near_place(other, name) for other in others):
                    yield f"the {self._say(look)} {self._say_place(name)}"

    def _places(self, index: int) -> list[str]:
        return [name for name in PLACES if self._depth(index, name) >= self.clear]

    def _near_place(self, index: int, name: str) -> bool:
        return self._depth(index, name) > -self.clear

    def _depth(self, index: int, name: str) -> float:
        """How far inside a place the middle of a thing lies, in pixels; negative outside."""
        x, y = self.middles[index]
        left, top, right, bottom = (side * self.image_size / 100 for side in PLACES[name])
        return min(x - left, y - top, right - x, bottom - y)

    def _say_place(self, name: str) -> str:
        return self.dice.pick(PLACE_WORDS[name])

    def _orders(self, index: int) -> Iterator[str]:
        """Its rank among the things of one look along a side, where all of them are clearly apart on that axis."""
        for look in ({"shape": self.things[index].shape}, {"colour": self.things[index].colour}, {}):
            members = self._matches(look)
            for axis, (start, end) in enumerate((ENDS[:2], ENDS[2:])):
                ranked = sorted(members, key=lambda member: self.middles[member][axis])
                if len(members) > 1 and self._all_apart(ranked, axis):
                    rank = ranked.index(index)
                    yield from self._ranks(rank, start, look)
                    yield from self._ranks(len(ranked) - 1 - rank, end, look)

    def _all_apart(self, ranked: list[int], axis: int) -> bool:
        places = [self.middles[member][axis] for member in ranked]
        return all(after - before >= self.clear for before, after in pairwise(places))

    def _ranks(self, rank: int, end: tuple[str, str], look: Look) -> Iterator[str]:
        side, most = end
        noun = self._say(look)
        if rank == 0:
            yield f"the {most} {noun}"
        if rank < len(ORDINALS):
            yield f"the {ORDINALS[rank]} {noun} from the {side}"

    def _relations(self, index: int) -> Iterator[str]:
        """Where it lies from another thing that words can name, when no other of its look could be meant."""
        for anchor in range(len(self.things)):
            name = self._name(anchor) if anchor != index else None
            relation = self._relation(index, anchor)
            if name is None or relation is None:
                continue
            for look in self._looks(index, 1):
                others = [other for other in self._matches(look) if other not in (index, anchor)]
                if not any(self._may_be(other, anchor, relation) for other in others):
                    yield f"the {self._say(look)} {self.dice.pick(RELATIONS[relation])} the {name}"

    def _name(self, index: int) -> str | None:
        """The shortest look with its shape that fits this thing alone, in words."""
        fitting = [look for look in self._looks(index, 2) if "shape" in look and self._matches(look) == [index]]
        return self._say(min(fitting, key=len)) if fitting else None

    def _relation(self, index: int, anchor: int) -> str | None:
        """The one side of the anchor on which the thing clearly lies."""
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
