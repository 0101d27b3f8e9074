"""Counts bad rows by kind, and says when they are too many: a set that was read wrongly loses most of one kind.

Public sets have less than one bad row in a hundred, and a set that was read wrongly loses nearly all, so that a
twentieth tells the two apart. A fraction means nothing in a small set: it may have `ALLOWED` bad rows of a kind.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

from vilam.data.kinds import OF_PARTS, OF_PICTURES, RING, kind_of
from vilam.data.readers.source import Problem

MAX_LINES = 20
"""Bad rows of one kind that are reported in a line each; others are only counted."""
ALLOWED = 5
"""Bad rows of one kind that any set may have, unless they are more than half of all."""
EARLY = 1000
"""Bad rows of one kind after which reading stops at once, if they are more than half of what was read."""


class Invalid:
    """What was bad and what was good.

    kinds, splits: bad rows by kind and by split. lines: of each kind the first bad rows. lost, kept: objects by
    category; num_images: pictures, and ``num_objects`` objects, the bad ones included.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        """report: called with the lines of bad rows."""
        self._report = report
        self.kinds: Counter[str] = Counter()
        self.splits: Counter[str] = Counter()
        self.lines: dict[str, list[str]] = defaultdict(list)
        self.lost: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()
        self.num_images = self.num_objects = 0

    def add(self, problem: Problem) -> None:
        """Count a bad row, and the picture or object that it costs."""
        kind = problem.kind or kind_of(problem.message)
        self.kinds[kind] += 1
        self.splits[problem.split] += 1
        if kind in OF_PICTURES:
            self.num_images += 1
        elif kind not in OF_PARTS:
            self.num_objects += 1
            if problem.category:
                self.lost[problem.category] += 1
        if len(self.lines[kind]) < MAX_LINES:
            line = f"{problem.location}: {problem.message}"
            self.lines[kind].append(line)
            self._report(line)

    def total(self, kind: str) -> int:
        """How many pictures or objects there are, of which some are bad in this way."""
        return max(self.num_images if kind in OF_PICTURES else self.num_objects, self.kinds[kind])

    @property
    def lost_categories(self) -> list[str]:
        """Categories that had objects and have none left."""
        return sorted(name for name in self.lost if not self.kept[name])

    def excess(self, max_invalid: float, is_whole: bool = True) -> str:
        """What is too much, in one line; "" if nothing is.

        max_invalid: a fraction if it is below 1, else a number; see `PrepareSettings`. is_whole: whether all was read:
        a fraction is not known before, but is too large if most of the first `EARLY` rows are bad.
        """
        is_fraction = 0 < max_invalid < 1
        for kind, count in self.kinds.items():
            if kind == RING:
                continue
            total = self.total(kind)
            bound = max(max_invalid * total, min(ALLOWED, total // 2)) if is_fraction else max_invalid
            is_known = is_whole or not is_fraction or (count >= EARLY and 2 * count > total)
            if count > bound and is_known:
                what = f"{count} of {total} {'pictures' if kind in OF_PICTURES else 'objects'} are bad ({kind})"
                return (
                    f"more than prepare.max_invalid = {max_invalid:g} allows: {what}, the first: "
                    f"{self.lines[kind][0]}: fix them or raise prepare.max_invalid"
                )
        return ""
