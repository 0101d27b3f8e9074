"""Rules that write expressions for regions nobody described: class, position, order and size.

Every expression fits exactly one region of its image, by a margin: the region meets the condition with room to spare
and no other region of its category comes near to meeting it. Regions that no rule tells from the others get none.
Regions that are not annotated cannot be seen: where a source leaves objects out, an expression may fit one of those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vilam.data.records import TRAIN, Expression, ImageRecord, Region
from vilam.draws import fraction
from vilam.geometry.boxes import area

MARGIN = 0.05
"""Share of the image's side by which the centres of two boxes must differ to be put in order."""
SIZE_RATIO = 1.5
"""How many times the area of the next box the largest one must have, and the next one that of the smallest."""
ORDINALS = ("second", "third", "fourth")
ENDS = (
    ("left", "leftmost", 0, 1),
    ("right", "rightmost", 0, -1),
    ("top", "topmost", 1, 1),
    ("bottom", "lowest", 1, -1),
)
"""Name, superlative, axis (0 is x) and direction of the four ends of an image."""

LOW = (0.0, 0.35), (0.0, 0.5)
MIDDLE = (0.4, 0.6), (0.3, 0.7)
HIGH = (0.65, 1.0), (0.5, 1.0)
ANY = (0.0, 1.0), (0.0, 1.0)
"""Where a centre lies in a place (shares of the side), and the wider band in which it could be taken to lie there."""
PLACES = (
    ("on the left", LOW, ANY),
    ("on the right", HIGH, ANY),
    ("at the top", ANY, LOW),
    ("at the bottom", ANY, HIGH),
    ("at the top left", LOW, LOW),
    ("at the top right", HIGH, LOW),
    ("at the bottom left", LOW, HIGH),
    ("at the bottom right", HIGH, HIGH),
    ("in the middle", MIDDLE, MIDDLE),
)

Found = tuple[int, str, str]
"""Index of the region within its category, text and kind of an expression."""


@dataclass(frozen=True, slots=True)
class _Category:
    """The regions of one category in one image: centres (N, 2) as shares of the sides, areas (N,) in square pixels."""

    name: str
    centres: NDArray[np.float64]
    areas: NDArray[np.float64]


def add_rule_expressions(record: ImageRecord) -> ImageRecord:
    """The record with rule expressions for each region that has none and that a rule tells from all others."""
    if all(region.expressions for region in record.regions):
        return record
    rules = rule_expressions(record)
    pairs = zip(record.regions, rules, strict=True)
    regions = (region if region.expressions else replace(region, expressions=words) for region, words in pairs)
    return replace(record, regions=tuple(regions))


def keep_described(record: ImageRecord, described: float, seed: int) -> ImageRecord:
    """In train the record with the expressions of a fraction of its regions (0..1) alone; other splits keep all.

    The seed and their ids choose the regions that keep theirs: a larger fraction keeps all that a smaller one keeps.
    """
    if described == 1 or record.split != TRAIN:
        return record
    regions = (
        region
        if fraction(seed, "described", record.image_id, region.region_id) < described
        else replace(region, expressions=())
        for region in record.regions
    )
    return replace(record, regions=tuple(regions))


def rule_expressions(record: ImageRecord) -> list[tuple[Expression, ...]]:
    """The rule expressions of each region of an image, described or not, in the order of its regions."""
    found: list[list[Expression]] = [[] for _ in record.regions]
    for name in dict.fromkeys(region.category for region in record.regions):
        members = [index for index, region in enumerate(record.regions) if region.category == name]
        category = _category(name, [record.regions[index] for index in members], record.width, record.height)
        for rule in (_class, _extremes, _places, _orders, _sizes):
            for index, text, kind in rule(category):
                found[members[index]].append(Expression(text, kind, "rule"))
    return [tuple(expressions) for expressions in found]


def _category(name: str, regions: list[Region], width: int, height: int) -> _Category:
    boxes = np.array([region.box_xyxy for region in regions], dtype=np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / (width, height)
    return _Category(name, centres, area(boxes))


def _class(category: _Category) -> Iterator[Found]:
    """``the dog``, where it is the only one."""
    if len(category.areas) == 1:
        yield 0, f"the {category.name}", "class"


def _extremes(category: _Category) -> Iterator[Found]:
    """``the leftmost dog``."""
    for _, superlative, axis, direction in ENDS:
        order, gaps = _in_order(category, axis, direction)
        if gaps.size and gaps[0] >= MARGIN:
            yield int(order[0]), f"the {superlative} {category.name}", "position"


def _places(category: _Category) -> Iterator[Found]:
    """``the dog at the top left``."""
    for words, *bands in PLACES:
        inside, near = (_within(category.centres, [band[width] for band in bands]) for width in (0, 1))
        if near.sum() == 1 and inside[near].all():
            yield int(near.argmax()), f"the {category.name} {words}", "position"


def _orders(category: _Category) -> Iterator[Found]:
    """``the second dog from the left``; never the last one, which is the first from the other end."""
    for end, _, axis, direction in ENDS:
        order, gaps = _in_order(category, axis, direction)
        for place, ordinal in enumerate(ORDINALS, start=1):
            if place < len(gaps) and gaps[: place + 1].min() >= MARGIN:
                yield int(order[place]), f"the {ordinal} {category.name} from the {end}", "order"


def _sizes(category: _Category) -> Iterator[Found]:
    """``the largest dog``, by the area of the box."""
    if len(category.areas) < 2:
        return
    order = np.argsort(category.areas, kind="stable")
    smallest, second, *_ = areas = category.areas[order]
    if areas[-1] >= SIZE_RATIO * areas[-2]:
        yield int(order[-1]), f"the largest {category.name}", "attribute"
    if second >= SIZE_RATIO * smallest:
        yield int(order[0]), f"the smallest {category.name}", "attribute"


def _in_order(category: _Category, axis: int, direction: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Indices (N,) from one end of the image on and the gaps (N - 1,) between the centres of neighbours."""
    places = category.centres[:, axis] * direction
    order = np.argsort(places, kind="stable")
    return order, np.diff(places[order])


def _within(centres: NDArray[np.float64], bands: list[tuple[float, float]]) -> NDArray[np.bool_]:
    lows, highs = np.array(bands).T
    return np.asarray(((centres >= lows) & (centres <= highs)).all(axis=1))
