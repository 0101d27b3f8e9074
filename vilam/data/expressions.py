"""Rules that write expressions for regions that nobody described: class, position, order and size.

Every expression fits exactly one region of its image, by a margin: the region clearly meets the condition, and no other
region of its category comes near to meeting it. Regions that no rule distinguishes from the others get none. Objects
without annotations are unknown to the rules: if a source leaves objects out, an expression may also fit one of those.
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
"""Fraction of the image's side by which the centres of two boxes must differ to be put in order."""
SIZE_RATIO = 1.5
"""Ratio, at least, of the largest area to the next one, and of the second smallest area to the smallest one."""
ORDINALS = ("second", "third", "fourth")
ENDS = (
    ("left", "leftmost", 0, 1),
    ("right", "rightmost", 0, -1),
    ("top", "topmost", 1, 1),
    ("bottom", "lowest", 1, -1),
)
"""Name, superlative, axis (0 is x) and direction of the four ends of an image."""

LOW = (0.0, 0.35), (0.0, 0.5)
CENTRE = (0.4, 0.6), (0.3, 0.7)
HIGH = (0.65, 1.0), (0.5, 1.0)
ANY = (0.0, 1.0), (0.0, 1.0)
"""Bands for the centre of a box, as fractions of the side: clearly at a position, and perhaps at it."""
POSITIONS = (
    ("on the left", LOW, ANY),
    ("on the right", HIGH, ANY),
    ("at the top", ANY, LOW),
    ("at the bottom", ANY, HIGH),
    ("at the top left", LOW, LOW),
    ("at the top right", HIGH, LOW),
    ("at the bottom left", LOW, HIGH),
    ("at the bottom right", HIGH, HIGH),
    ("in the middle", CENTRE, CENTRE),
)

Found = tuple[int, str, str]
"""Index of the region within its category, text and kind of an expression."""


@dataclass(frozen=True, slots=True)
class _Category:
    """The regions of one category in one image: centres (N, 2) in fractions of the sides, areas (N,) in pixels²."""

    name: str
    centres: NDArray[np.float64]
    areas: NDArray[np.float64]


def add_rule_expressions(record: ImageRecord) -> ImageRecord:
    """The record with rule expressions for each region that has none and that a rule distinguishes from all others."""
    if all(region.expressions for region in record.regions):
        return record
    rules = rule_expressions(record)
    pairs = zip(record.regions, rules, strict=True)
    regions = (region if region.expressions else replace(region, expressions=own) for region, own in pairs)
    return replace(record, regions=tuple(regions))


def keep_described(record: ImageRecord, described: float, seed: int) -> ImageRecord:
    """The record with the expressions of only a fraction of its regions (0..1), if it is in train.

    The seed and the ids choose the regions that keep theirs: a larger fraction keeps all that a smaller one keeps.
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
        for rule in (_class, _extremes, _positions, _orders, _sizes):
            for index, text, kind in rule(category):
                found[members[index]].append(Expression(text, kind, "rule"))
    return [tuple(expressions) for expressions in found]


def _category(name: str, regions: list[Region], width: int, height: int) -> _Category:
    boxes = np.array([region.box_xyxy for region in regions], dtype=np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / (width, height)
    return _Category(name, centres, area(boxes))


def _class(category: _Category) -> Iterator[Found]:
    """``the dog``, if it is the only one."""
    if len(category.areas) == 1:
        yield 0, f"the {category.name}", "class"


def _extremes(category: _Category) -> Iterator[Found]:
    """``the leftmost dog``."""
    for _, superlative, axis, direction in ENDS:
        order, gaps = _in_order(category, axis, direction)
        if gaps.size and gaps[0] >= MARGIN:
            yield int(order[0]), f"the {superlative} {category.name}", "position"


def _positions(category: _Category) -> Iterator[Found]:
    """``the dog at the top left``."""
    for position, *bands in POSITIONS:
        inside, near = (_within(category.centres, [band[width] for band in bands]) for width in (0, 1))
        if near.sum() == 1 and inside[near].all():
            yield int(near.argmax()), f"the {category.name} {position}", "position"


def _orders(category: _Category) -> Iterator[Found]:
    """``the second dog from the left``; never the last one, which is the first from the other end."""
    for end, _, axis, direction in ENDS:
        order, gaps = _in_order(category, axis, direction)
        for rank, ordinal in enumerate(ORDINALS, start=1):
            if rank < len(gaps) and gaps[: rank + 1].min() >= MARGIN:
                yield int(order[rank]), f"the {ordinal} {category.name} from the {end}", "order"


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
    """Indices (N,) in order from one end of the image, and the gaps (N - 1,) between the centres of neighbours."""
    coordinates = category.centres[:, axis] * direction
    order = np.argsort(coordinates, kind="stable")
    return order, np.diff(coordinates[order])


def _within(centres: NDArray[np.float64], bands: list[tuple[float, float]]) -> NDArray[np.bool_]:
    lows, highs = np.array(bands).T
    return np.asarray(((centres >= lows) & (centres <= highs)).all(axis=1))
