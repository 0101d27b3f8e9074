"""Gathers what the rows of a file say about pictures: rows about one picture of one split become one item."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path

from vilam.data.readers.dividing import NAMES, split_name
from vilam.data.readers.items import Item, LazyItems, Listing, Shape, Words
from vilam.data.readers.kept import IN_MEMORY, KeptDict
from vilam.data.readers.paths import Pictures, under
from vilam.data.readers.source import OBJECT, Problem
from vilam.data.recipes import FormatReader
from vilam.data.records import Polygon
from vilam.geometry.boxes import Box

LONGEST = 1000
"""Characters of an image's path, at most; longer ones hold the image itself."""
MANY = 10
"""Names from which names are expressions, if most of them are used once."""


def are_names(used: Counter[str]) -> bool:
    """Whether words by the number of their objects are the names of categories: they are few, or most recur."""
    return len(used) <= MANY or len(used) * 2 <= used.total()


def as_box(values: object) -> Box:
    """Four finite numbers, with the corners in order; raises ValueError if they are none."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != 4:
        raise ValueError(f"expected a box of four numbers: {str(values)[:60]}")
    try:
        x1, y1, x2, y2 = (float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"expected a box of four numbers: {str(values)[:60]}") from None
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise ValueError(f"box is not a number: {str(values)[:60]}")
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


Key = tuple[str, str]
"""The split and name of a picture."""


@dataclass(slots=True)
class Draft:
    """What is known of a picture; fields as those of `Item`.

    marked: categories of which every object is marked; None for all of them.
    """

    image: Path
    name: str
    split: str
    location: str
    whole: float | None = None
    size: tuple[int, int] | None = None
    captions: list[str] = field(default_factory=list)
    marked: set[str] | None = field(default_factory=set)
    _shapes: list[Shape] = field(default_factory=list)
    _said: list[list[str]] = field(default_factory=list)
    _words: dict[tuple[str, tuple[int, ...]], None] = field(default_factory=dict)
    _places: dict[tuple[Box | None, tuple[Polygon, ...]], list[int]] = field(default_factory=dict)

    def add(
        self, box: Box | None, category: str = OBJECT, polygons: tuple[Polygon, ...] = (), location: str = ""
    ) -> int:
        """Add an object and return its number, which is that of a known object in the same place.

        An object whose category is not known takes the one that another row tells.
        """
        places = self._places.setdefault((box, polygons), [])
        for number in places:
            known = self._shapes[number]
            if category in (known.category, OBJECT):
                return number
            if known.category == OBJECT:
                self._shapes[number] = Shape(category, box, polygons, location=known.location)
                return number
        self._shapes.append(Shape(category, box, polygons, location=location))
        self._said.append([])
        places.append(len(self._shapes) - 1)
        return places[-1]

    def say(self, text: str, shapes: Iterable[int]) -> None:
        """Words that mean one object, which has them as expression, or several of them or none."""
        numbers = tuple(dict.fromkeys(shapes))
        if len(numbers) == 1:
            self._said[numbers[0]].append(text)
        elif text.strip():
            self._words[text, numbers] = None

    @property
    def key(self) -> Key:
        """By which its `Gathering` gives it again."""
        return self.split, self.name

    @property
    def categories(self) -> Iterator[str]:
        """The category of each object."""
        return (shape.category for shape in self._shapes)

    def item(self, categories: Sequence[str]) -> Item:
        """The item; ``categories``: all of the data set."""
        shapes = tuple(
            Shape(one.category, one.box_xyxy, one.polygons, expressions=tuple(said), location=one.location)
            for one, said in zip(self._shapes, self._said, strict=True)
        )
        unmarked = [one for one in categories if one == OBJECT or (self.marked is not None and one not in self.marked)]
        return Item(
            self.image,
            self.name,
            self.split,
            self.location,
            shapes,
            whole=self.whole,
            size=self.size,
            captions=tuple(dict.fromkeys(self.captions)),
            words=tuple(Words(text, numbers) for text, numbers in self._words),
            unmarked=tuple(unmarked),
        )


class Gathering:
    """The pictures of a data set by split and file, in the order of the rows, and the rows that are no good.

    All but the last drafts are on disk: one is asked for, filled, and asked for again later by its key.
    """

    def __init__(self, root: Path, reader: FormatReader) -> None:
        self._root, self._reader = root, reader
        self._drafts = KeptDict[Draft]()
        self._image = lru_cache(IN_MEMORY)(self._find)
        self._pictures = Pictures(root)
        self.problems: list[Problem] = []

    def picture(self, file: Path, split: str, name: object, location: str) -> Draft:
        """The picture that a row of a file names; raises ValueError if it names none."""
        if not isinstance(name, str) or not name.strip():
            raise ValueError("no image is named")
        if len(name) > LONGEST:
            raise ValueError(f"the image is no file: {name[:40]}…")
        image = self._image(file.parent, split, name)
        own = under(self._root, image)
        return self._drafts.setdefault(f"{split}\n{own}", lambda: Draft(image, own, split, location))

    def again(self, key: Key) -> Draft:
        """The picture of a key."""
        return self._drafts["\n".join(key)]

    def problem(self, split: str, location: str, message: str) -> None:
        """A row, or a part of it, that is left out."""
        self.problems.append(Problem(split, location, message))

    def listing(self, categories: Iterable[str] = ()) -> Listing:
        """All pictures; ``categories``: those that come first, in this order."""
        used = dict.fromkeys(chain(categories, (name for one in self._drafts for name in one.categories)))
        items = LazyItems(self._drafts, lambda draft: draft.item(tuple(used)))
        return Listing(items, tuple(used), problems=self.problems, renamed=self._pictures.renamed)

    def _find(self, above: Path, split: str, name: str) -> Path:
        """The image's file: beside the rows, in the usual folders, or the only one of its name below the root."""
        places = [self._root / folder for folder in self._reader.images]
        places += [above, above / "images", self._root, self._root / "images", above.parent, above.parent / "images"]
        others = {one for one in NAMES if one != split} if split in NAMES else set()
        found = self._pictures.find(name, places, lambda folder: split_name(folder) in others)
        if found is None and "://" in name:
            raise ValueError(f"the image is no file: {name[:40]}…")
        return found or above / name
