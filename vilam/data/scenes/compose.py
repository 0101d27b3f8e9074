"""What stands where in a scene: shape, colour, texture, size, place and turn of each object, seeded."""

from __future__ import annotations

from dataclasses import dataclass

from vilam.data.scenes.rng import SceneRng
from vilam.data.scenes.shapes import REACH, SHAPES, SUBPIXELS, Vertex

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 40),
    "orange": (246, 138, 22),
    "yellow": (245, 224, 50),
    "green": (42, 150, 58),
    "cyan": (70, 215, 225),
    "blue": (44, 74, 208),
    "purple": (146, 52, 176),
    "white": (246, 246, 246),
    "black": (22, 22, 22),
}
TEXTURES = ("plain", "striped", "dotted", "checked")
DIAMETERS = {"small": (12, 15), "medium": (19, 24), "large": (29, 34)}
"""Pixels in an image of 96, least and most; the gaps keep "small" and "large" clear."""
FREE = 102
CLOSENESS = (FREE, FREE, FREE, FREE, FREE, FREE, 72, 72, 30, 30)
"""How near a thing may come to those before it, in percent of the two radii: below 100 it may hide a part.

Things of one colour stay FREE of each other: nobody could see where one ends.
"""


@dataclass(frozen=True, slots=True)
class Thing:
    """One object as it is drawn; centre and radius in quarter pixels, turn in degrees clockwise."""

    shape: str
    colour: str
    texture: str
    size: str
    centre: Vertex
    radius: int
    turn: int

    @property
    def look(self) -> tuple[str, str, str, str]:
        """What words can say of it wherever it stands."""
        return self.shape, self.colour, self.texture, self.size


def compose(dice: SceneRng, image_size: int) -> list[Thing]:
    """Three to six things, the last drawn on top; no two look the same, and in most scenes two share a shape."""
    wanted = dice.between(3, 6)
    shapes = _shapes(dice, wanted)
    things: list[Thing] = []
    while len(things) < wanted:
        thing = _thing(dice, shapes[len(things)], things, image_size)
        if thing is None:  # no room: begin again, a crowded beginning stays crowded
            things = []
        else:
            things.append(thing)
    return things


def _shapes(dice: SceneRng, count: int) -> list[str]:
    names = [dice.pick(tuple(SHAPES)) for _ in range(count)]
    if dice.chance(60):
        names[1] = names[0]
    return dice.sample(names, count)


def _thing(dice: SceneRng, shape: str, others: list[Thing], image_size: int) -> Thing | None:
    """One more thing that looks like none of the others and hides little of them; None after 30 tries."""
    closeness = dice.pick(CLOSENESS)
    for _ in range(30):
        size = dice.pick(("small", "medium", "medium", "large"))
        low, high = (diameter * SUBPIXELS * image_size // 192 for diameter in DIAMETERS[size])
        radius = dice.between(low, high)
        centre = _centre(dice, radius, image_size)
        thing = Thing(shape, _colour(dice, others), _texture(dice), size, centre, radius, _turn(dice, shape))
        if all(thing.look != other.look and _apart(thing, other, closeness) for other in others):
            return thing
    return None


def _centre(dice: SceneRng, radius: int, image_size: int) -> Vertex:
    reach = radius * REACH // 1000 + SUBPIXELS
    return dice.between(reach, image_size * SUBPIXELS - reach), dice.between(reach, image_size * SUBPIXELS - reach)


def _colour(dice: SceneRng, others: list[Thing]) -> str:
    if others and dice.chance(25):
        return dice.pick(others).colour
    return dice.pick(tuple(COLOURS))


def _texture(dice: SceneRng) -> str:
    return "plain" if dice.chance(40) else dice.pick(TEXTURES[1:])


def _turn(dice: SceneRng, shape: str) -> int:
    return dice.between(-SHAPES[shape].max_turn, SHAPES[shape].max_turn)


def _apart(a: Thing, b: Thing, percent: int) -> bool:
    """Whether the middles are at least ``percent`` of the two radii apart, or FREE where the colours are one."""
    percent = FREE if a.colour == b.colour else percent
    x, y = a.centre[0] - b.centre[0], a.centre[1] - b.centre[1]
    return (x * x + y * y) * 10_000 >= ((a.radius + b.radius) * percent) ** 2
