"""Writes the table of formats in docs/datasets.md.

    python scripts/formats_table.py

The table is made from `FORMATS` (vilam/data/readers/__init__.py); a test compares the two.
"""

from __future__ import annotations

import re
from pathlib import Path

from vilam.data.readers import FORMATS

PAGE = Path(__file__).parents[1] / "docs" / "datasets.md"
HEAD = ("| `prepare.source` | what | files | what is kept | what is lost |", "|---|---|---|---|---|")
TABLE = re.compile(rf"^{re.escape(HEAD[0])}\n(\|.*\n)*", re.MULTILINE)


def table() -> str:
    """A row for each format."""
    rows = (f"| `{one.name}` | {one.title} | {one.layout} | {one.keeps} | {one.loses} |" for one in FORMATS)
    return "".join(f"{line}\n" for line in (*HEAD, *rows))


def with_table(page: str) -> str:
    """The text of the page with its table made anew."""
    return TABLE.sub(lambda _: table(), page, count=1)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(PAGE)
