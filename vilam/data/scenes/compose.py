"""Composition of a scene: shape, colour, texture, size, position and rotation of each object, by a seed."""

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
"""Range of diameters in pixels of an image of 96; the gaps keep "small" and "large" unambiguous."""
FREE = 102
CLOSENESS = (FREE, FREE, FREE, FREE, FREE, FREE, 72, 72, 30, 30)
"""Least distance of a thing from those before it, in percent of the sum of radii: below 100 it may hide a part.

The distance of two things of one colour is at least FREE: else the border between them would be invisible.
"""


@dataclass(frozen=True, slots=True)
class Thing:
    """One object as it is drawn; centre and radius in quarter pixels, rotation in degrees clockwise."""

    shape: str
    colour: str
    texture: str
    size: str
    centre: Vertex
    radius: int
    rotation: int

    @property
    def appearance(self) -> tuple[str, str, str, str]:
        """What an expression can say about it without its position."""
        return self.shape, self.colour, self.texture, self.size


def compose(rng: SceneRng, image_size: int) -> list[Thing]:
    """Three to six things, the last drawn on top; all look different, and in most scenes two have the same shape."""
    wanted = rng.between(3, 6)
    shapes = _shapes(rng, wanted)
    things: list[Thing] = []
    while len(things) < wanted:
        thing = _thing(rng, shapes[len(things)], things, image_size)
        if thing is None:  # no room: begin again
            things = []
        else:
            things.append(thing)
    return things


def _shapes(rng: SceneRng, count: int) -> list[str]:
    names = [rng.pick(tuple(SHAPES)) for _ in range(count)]
    if rng.chance(60):
        names[1] = names[0]
    return rng.sample(names, count)


def _thing(rng: SceneRng, shape: str, others: list[Thing], image_size: int) -> Thing | None:
    """One more thing that looks different from the others and hides little of them; None after 30 tries."""
    closeness = rng.pick(CLOSENESS)
    for _ in range(30):
        size = rng.pick(("small", "medium", "medium", "large"))
        low, high = (diameter * SUBPIXELS * image_size // 192 for diameter in DIAMETERS[size])
        radius = rng.between(low, high)
        centre = _centre(rng, radius, image_size)
        colour = _colour(rng, others)
        texture = "plain" if rng.chance(40) else rng.pick(TEXTURES[1:])
        rotation = rng.between(-SHAPES[shape].max_rotation, SHAPES[shape].max_rotation)
        thing = Thing(shape, colour, texture, size, centre, radius, rotation)
        if all(thing.appearance != other.appearance and _apart(thing, other, closeness) for other in others):
            return thing
    return None


def _centre(rng: SceneRng, radius: int, image_size: int) -> Vertex:
    reach = radius * REACH // 1000 + SUBPIXELS
    return rng.between(reach, image_size * SUBPIXELS - reach), rng.between(reach, image_size * SUBPIXELS - reach)


def _colour(rng: SceneRng, others: list[Thing]) -> str:
    if others and rng.chance(25):
        return rng.pick(others).colour
    return rng.pick(tuple(COLOURS))


def _apart(a: Thing, b: Thing, percent: int) -> bool:
    """Whether the centres are at least ``percent`` of the sum of radii apart, or FREE if the colours are the same."""
    percent = FREE if a.colour == b.colour else percent
    x, y = a.centre[0] - b.centre[0], a.centre[1] - b.centre[1]
    return (x * x + y * y) * 10_000 >= ((a.radius + b.radius) * percent) ** 2
