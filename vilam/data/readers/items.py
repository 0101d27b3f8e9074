"""Pictures with their annotations as a format has them, and how they become records.

A format's reader lists items; what all formats share is done here, once: the picture is opened and turned upright,
coordinates become pixels of the upright picture, outlines come from run lengths, a set is divided, ids are given.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from vilam.data.kinds import BOX, BROKEN, MISSING, OUTLINE, RING, SIZE, UNREADABLE
from vilam.data.masks import mask_to_polygons, rle_to_mask
from vilam.data.orientation import UPRIGHT, turned
from vilam.data.readers.dividing import divided, split_name
from vilam.data.readers.images import Picture, read_picture, without_content
from vilam.data.readers.kept import KeptDict, KeptList
from vilam.data.readers.naming import picture_ids, without_suffix
from vilam.data.readers.source import ALL, MALFORMED, Problem, RawRecord, Source, split_order, tidy
from vilam.data.recipes import Recipe, Window
from vilam.data.records import Expression, Group, ImageRecord, Keypoint, KeypointSchema, Point, Polygon, Region
from vilam.errors import VilamError, one_line
from vilam.geometry.boxes import Box
from vilam.geometry.polygons import polygon_box

logger = logging.getLogger(__name__)

Entry = TypeVar("Entry")

_ERRORS = (*MALFORMED, OSError, SyntaxError, RecursionError)
MIN_POINTS = 3
Lost = tuple[str, str]
"""The kind of what is lost, and a message."""
LOOKED_AT = 100
"""Pictures of a set that are looked at to learn in which frame its coordinates are."""
SLACK = 1.0
"""Pixels by which a box may lie outside of its picture and still fit it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """An object as an annotation has it; coordinates in the unit of its `Item`.

    box_xyxy: None to take the box around the outlines, the mask or the labelled keypoints. polygons: outer rings. rle:
    a mask as COCO's run lengths, of the picture's size; used if there are no polygons. location: of the annotation in
    its file ("annotation 7", "line 3"), for messages.
    """

    category: str
    box_xyxy: Box | None = None
    polygons: tuple[Polygon, ...] = ()
    keypoints: tuple[Keypoint, ...] = ()
    expressions: tuple[str, ...] = ()
    rle: Mapping[str, Any] | None = None
    location: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """An expression that means several objects of a picture, or none: indices of the item's shapes."""

    text: str
    shapes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A picture and its annotations.

    image: its file, or a function that returns the file's content. name: its path under the root, with suffix; two
    items of one name and one split are one picture. split: its official split under any name; `ALL` if it has none.
    location: of its annotations, for messages. shapes: its objects, or a function that reads them and may raise
    ValueError, KeyError, TypeError or OSError. whole: the coordinate of the picture's right and lower side (1:
    fractions, 100: per cent, 1000: thousandths); None for pixels. size: width and height that the annotation tells.
    upright: whether coordinates are of the upright picture, where ``size`` does not tell.
    unmarked: categories of which not every object is marked, or a function that lists them.
    """

    image: Path | Callable[[], bytes]
    name: str
    split: str
    location: str
    shapes: Sequence[Shape | Problem] | Callable[[], Sequence[Shape | Problem]] = ()
    whole: float | None = None
    size: tuple[int, int] | None = None
    upright: bool = True
    captions: tuple[str, ...] = ()
    words: tuple[Words, ...] = ()
    licence: str = ""
    unmarked: Sequence[str] | Callable[[], Sequence[str]] = ()


class Head(NamedTuple):
    """What is asked of all pictures before the first is read: fields of `Item`."""

    split: str
    name: str
    licence: str


class Items(Protocol):
    """Items by number, from 0: a list, or what makes them when they are read, so that memory holds no data set."""

    def __len__(self) -> int:
        """The number of items."""

    def __getitem__(self, number: int, /) -> Item:
        """The item of a number."""

    def __iter__(self) -> Iterator[Item]:
        """All items."""


class LazyItems(Generic[Entry]):
    """Items that are made of entries when they are read."""

    def __init__(
        self,
        entries: Sequence[Entry] | KeptList[Entry] | KeptDict[Entry],
        make: Callable[[Entry], Item],
        heads: Callable[[], Iterable[Head]] | None = None,
    ) -> None:
        """make: the item of an entry. heads: of all items, in their order, if they are known without making them."""
        self._entries, self._make, self._heads = entries, make, heads

    def __len__(self) -> int:
        """The number of items."""
        return len(self._entries)

    def __getitem__(self, number: int) -> Item:
        """The item of a number, which is made."""
        return self._make(self._entries[number])

    def __iter__(self) -> Iterator[Item]:
        """All items, which are made one by one."""
        return map(self._make, self._entries)

    def heads(self) -> Iterable[Head]:
        """The heads of all items."""
        return self._heads() if self._heads else map(_head, self)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a format's reader finds: items, categories (each once, in the file's order), and rows that are no item.

    A problem without a split that has pictures counts for the first split. renamed: see `Pictures`.
    """

    items: Items
    categories: Sequence[str]
    keypoints: Mapping[str, KeypointSchema] = field(default_factory=dict)
    problems: Sequence[Problem] = ()
    licence: str = ""
    renamed: Mapping[str, Path] = field(default_factory=dict)


def source_of(listing: Listing, recipe: Recipe, together: str | None = None, window: Window | None = None) -> Source:
    """The data set of a listing; pictures are read one by one as its rows are iterated.

    Raises VilamError if there are no items.
    """
    if not listing.items:
        first = f": {listing.problems[0].location}: {listing.problems[0].message}" if listing.problems else ""
        raise VilamError(f"{recipe.title}: no picture{first}: check prepare.root")
    licence = listing.licence or recipe.licence
    names: list[str] = []
    official: list[str] = []
    licences: set[str] = set()
    usual = {ALL: ALL}
    for head in listing.items.heads() if isinstance(listing.items, LazyItems) else map(_head, listing.items):
        names.append(head.name)
        official.append(usual.get(head.split) or usual.setdefault(head.split, split_name(head.split)))
        licences.add(head.licence or licence)
    if listing.renamed:
        name, path = next(iter(listing.renamed.items()))
        told = "%s: %d pictures have another name than the annotations tell: %s is read for %s"
        logger.warning(told, recipe.title, len(listing.renamed), path.name, name)
    splits = divided(official, list(map(without_suffix, names)), together)
    ids = picture_ids(names, splits)
    there = tuple(sorted(dict.fromkeys(splits), key=split_order))
    ordered = (index for split in there for index, own in enumerate(splits) if own == split)
    reading = _Reading(recipe, window, licence, _frame_of_set(listing.items), _fit_as_they_are(listing.items))
    rows = reading.all_rows((listing.items[i], ids[i], splits[i]) for i in ordered)
    problems = (one if one.split in there else replace(one, split=there[0]) for one in listing.problems)
    return Source(
        recipe.name,
        tuple(dict.fromkeys(map(_name, listing.categories))),
        {_name(name): schema for name, schema in listing.keypoints.items()},
        there,
        tuple(sorted(licences)),
        len(listing.items),
        chain(problems, rows),
    )


def _head(item: Item) -> Head:
    return Head(item.split, item.name, item.licence)


@cache
def _name(category: str) -> str:
    """A category's name as records have it."""
    return tidy(category)


class _Reading:
    """Opens pictures and puts their annotations on them."""

    def __init__(
        self, recipe: Recipe, window: Window | None, licence: str, is_upright: bool | None, are_exchanged: bool
    ) -> None:
        self.recipe, self.window, self.licence, self.is_upright = recipe, window, licence, is_upright
        self.are_exchanged = are_exchanged
        self._guessed: Counter[str] = Counter()
        self._exchanged = 0

    def all_rows(self, items: Iterable[tuple[Item, str, str]]) -> Iterator[RawRecord | Problem]:
        """The rows of items with their ids and splits; says at the end in which frame turned pictures were read."""
        for item, image_id, split in items:
            yield from self.rows(item, image_id, split)
        if self._exchanged:
            logger.warning(
                "%s: the annotations tell width and height of %d pictures the other way round; all boxes lie in the "
                "pictures as they are, and are read so",
                *(self.recipe.name, self._exchanged),
            )
        for frame, count in self._guessed.items():
            logger.warning(
                "%s: of %d pictures with an orientation tag, nothing tells whether coordinates are of the turned "
                "picture or of the stored pixels: read as those of the %s",
                *(self.recipe.name, count, frame),
            )

    def rows(self, item: Item, image_id: str, split: str) -> Iterator[RawRecord | Problem]:
        try:
            picture = read_picture(item.image if isinstance(item.image, Path) else item.image(), self.window)
        except FileNotFoundError as error:
            yield Problem(split, item.location, f"image file {error.filename or item.name} not found", MISSING)
            return
        except _ERRORS as error:
            yield Problem(split, item.location, f"cannot be read: {one_line(error)}", BROKEN)
            return
        try:
            shapes = item.shapes() if callable(item.shapes) else item.shapes
        except (*_ERRORS, VilamError) as error:
            yield Problem(split, item.location, f"cannot be read: {one_line(error)}", UNREADABLE)
            return
        frame = _frame(item, picture, [shape for shape in shapes if isinstance(shape, Shape)], self.is_upright)
        if frame is None or (frame.is_exchanged and not self.are_exchanged):
            sides = f"{picture.width}x{picture.height}"
            told = "x".join(map(str, item.size or ()))
            yield Problem(split, item.location, f"the image is {sides}, the annotation says {told}", SIZE)
            return
        self._exchanged += frame.is_exchanged
        self._guessed.update([frame.guessed] if frame.guessed else [])
        regions: dict[int, Region] = {}
        unmarked = set(item.unmarked() if callable(item.unmarked) else item.unmarked)
        for number, shape in enumerate(shapes):
            location = f"{item.location}, {shape.location}" if shape.location else item.location
            if isinstance(shape, Problem):
                unmarked.update([shape.category] if shape.category else [])
                yield replace(shape, split=split, location=location)
                continue
            try:
                regions[number], lost = frame.region(f"{image_id}_{number}", shape)
            except MALFORMED as error:
                unmarked.add(shape.category)
                yield Problem(split, location, one_line(error), BOX, _name(shape.category))
                continue
            yield from (Problem(split, location, message, kind) for kind, message in lost)
        yield RawRecord(self._record(item, image_id, split, picture, regions, unmarked), item.location)

    def _record(
        self,
        item: Item,
        image_id: str,
        split: str,
        picture: Picture,
        regions: Mapping[int, Region],
        unmarked: Iterable[str],
    ) -> ImageRecord:
        groups = tuple(
            Group(f"{image_id}_words_{number}", tidy(one.text), tuple(regions[shape].region_id for shape in one.shapes))
            for number, one in enumerate(item.words)
            if all(shape in regions for shape in one.shapes)
        )
        return ImageRecord(
            image_id,
            split,
            picture.content,
            picture.width,
            picture.height,
            self.recipe.name,
            item.licence or self.licence,
            tuple(map(tidy, item.captions)),
            tuple(regions.values()),
            groups,
            unmarked=tuple(sorted({*map(_name, unmarked)})),
        )


def _frame_of_set(items: Items) -> bool | None:
    """Whether a set's coordinates are of upright pictures, as those whose sides change show; None if they do not."""
    sample = range(0, len(items), max(1, len(items) // LOOKED_AT))
    told = {one for item in map(items.__getitem__, sample) if (one := _told_frame(item)) is not None}
    return told.pop() if len(told) == 1 else None


def _fit_as_they_are(items: Items) -> bool:
    """Whether no picture of a sample has boxes that leave it where the annotation exchanges its width and height."""
    sample = range(0, len(items), max(1, len(items) // LOOKED_AT))
    return all(map(_fits_as_it_is, map(items.__getitem__, sample)))


def _fits_as_it_is(item: Item) -> bool:
    """False if the annotation tells a picture's width and height the other way round, and boxes that leave it."""
    picture = without_content(item.image) if isinstance(item.image, Path) and item.size and item.whole is None else None
    if picture is None or picture.tag != UPRIGHT or item.size != (picture.height, picture.width):
        return True
    try:
        shapes = item.shapes() if callable(item.shapes) else item.shapes
    except (*_ERRORS, VilamError):
        return True
    own = [shape for shape in shapes if isinstance(shape, Shape)]
    return _frame(item, picture, own, None) is not None


def _told_frame(item: Item) -> bool | None:
    """Whether a picture's size or boxes show that they are of the upright picture; None if they do not tell."""
    picture = without_content(item.image) if isinstance(item.image, Path) else None
    if picture is None or picture.stored == (picture.width, picture.height):
        return None
    try:
        shapes = item.shapes() if item.size is None and callable(item.shapes) else item.shapes
    except (*_ERRORS, VilamError):
        return None
    listed = [] if callable(shapes) else [shape for shape in shapes if isinstance(shape, Shape)]
    frame = _frame(item, picture, listed, None) if item.size or listed else None
    return None if frame is None or frame.guessed else frame.tag == UPRIGHT


def _frame(item: Item, picture: Picture, shapes: Sequence[Shape], is_upright: bool | None) -> _Frame | None:
    """In which frame the coordinates are: of the upright picture, or of the stored pixels; None if neither fits.

    is_upright: what other pictures of the set show, where this one does not tell; None if they do not either.
    """
    upright, stored = (picture.width, picture.height), picture.stored
    if item.size is not None and item.size not in (upright, stored):
        if item.whole is None and picture.tag == UPRIGHT and item.size == upright[::-1]:
            frame = _Frame(upright, UPRIGHT, None, is_exchanged=True)
            return frame if frame.fits(shapes) else None
        if item.whole is None or not any(_alike(item.size, size) for size in (upright, stored)):
            return None
        item = replace(item, size=upright if _alike(item.size, upright) else stored)
    frames = {True: _Frame(upright, UPRIGHT, item.whole), False: _Frame(stored, picture.tag, item.whole)}
    if picture.tag == UPRIGHT:
        return frames[True]
    if item.size is not None and upright != stored:
        return frames[item.size == upright]
    fits = [is_upright for is_upright, frame in frames.items() if frame.fits(shapes)]
    if len(fits) == 1:
        return frames[fits[0]]
    if is_upright is not None:
        return frames[is_upright]
    if not shapes:
        return frames[item.upright]
    return replace(frames[item.upright], guessed="turned picture" if item.upright else "stored pixels")


def _alike(told: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether a picture was only made larger or smaller, to a pixel, so that parts of its sides stay right."""
    return abs(told[0] * size[1] - told[1] * size[0]) <= max(*told, *size)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The picture in which coordinates are: its size in pixels, the tag that turns it, the unit (see `Item`).

    guessed: which frame this is, if the format's convention decided; "" if the annotations did. is_exchanged: whether
    the annotation tells width and height of a picture without a tag the other way round.
    """

    size: tuple[int, int]
    tag: int
    whole: float | None
    guessed: str = ""
    is_exchanged: bool = False

    def fits(self, shapes: Sequence[Shape]) -> bool:
        """Whether all boxes and outlines in pixels lie in the picture."""
        width, height = self.size
        boxes = [shape.box_xyxy for shape in shapes if shape.box_xyxy is not None]
        boxes += [polygon_box(ring) for shape in shapes if shape.box_xyxy is None for ring in shape.polygons if ring]
        return self.whole is not None or all(box[2] <= width + SLACK and box[3] <= height + SLACK for box in boxes)

    @property
    def is_pixels(self) -> bool:
        """Whether coordinates are those of the upright picture as they are."""
        return self.whole is None and self.tag == UPRIGHT

    def point(self, point: Point) -> Point:
        if self.is_pixels:
            return float(point[0]), float(point[1])
        width, height = self.size
        across, down = (1.0, 1.0) if self.whole is None else (width / self.whole, height / self.whole)
        return turned((float(point[0]) * across, float(point[1]) * down), self.size, self.tag)

    def region(self, region_id: str, shape: Shape) -> tuple[Region, list[Lost]]:
        """The object in pixels of the upright picture, and what of it is lost; raises ValueError if it has no box."""
        rings, lost = self._rings(shape)
        points = tuple((*self.point((x, y)), int(v)) for x, y, v in shape.keypoints)
        message = _box_problem(shape)
        if shape.box_xyxy is not None and not message:
            (x1, y1), (x2, y2) = self.point(shape.box_xyxy[:2]), self.point(shape.box_xyxy[2:])
            box = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
        elif around := [point for ring in rings for point in ring] or [(x, y) for x, y, v in points if v]:
            box = polygon_box(around)
            lost += [(BOX, f"{message}: the box around its outline is taken")] if message else []
        else:
            raise ValueError(message or (lost[0][1] if lost else "no box, no outline and no keypoint"))
        expressions = tuple(Expression(text) for text in dict.fromkeys(map(tidy, shape.expressions)) if text)
        return Region(region_id, box, _name(shape.category), rings, points, expressions), lost

    def _rings(self, shape: Shape) -> tuple[tuple[Polygon, ...], list[Lost]]:
        if not shape.polygons and shape.rle is not None:
            return self._of_run_lengths(shape.rle)
        counts = [len(set(ring)) for ring in shape.polygons]
        good = [
            tuple(map(self.point, ring))
            for ring, count in zip(shape.polygons, counts, strict=True)
            if count >= MIN_POINTS
        ]
        kind = RING if good else OUTLINE
        return tuple(good), [(kind, f"a ring of {count} points left out") for count in counts if count < MIN_POINTS]

    def _of_run_lengths(self, rle: Mapping[str, Any]) -> tuple[tuple[Polygon, ...], list[Lost]]:
        width, height = self.size
        try:
            mask = rle_to_mask(dict(rle))
        except (ValueError, TypeError, KeyError) as error:
            return (), [(OUTLINE, f"outline left out: run lengths: {one_line(error)}")]
        if mask.shape != (height, width):
            sides = f"{mask.shape[1]}x{mask.shape[0]}"
            return (), [(OUTLINE, f"outline left out: a mask of {sides} on an image of {width}x{height}")]
        rings = mask_to_polygons(mask)
        return tuple(tuple(turned(point, self.size, self.tag) for point in ring) for ring in rings), []


def _box_problem(shape: Shape) -> str:
    """Why a shape's box is none; "" if it is one, or there is none."""
    if shape.box_xyxy is None:
        return ""
    x1, y1, x2, y2 = shape.box_xyxy
    if not all(map(math.isfinite, shape.box_xyxy)):
        return f"box is not a number: {x1} {y1} {x2} {y2}"
    return f"box of no area: {x1:g} {y1:g} {x2:g} {y2:g}" if x1 >= x2 or y1 >= y2 else ""
