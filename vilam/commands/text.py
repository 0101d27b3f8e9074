"""Tables as plain text, as several commands print them."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.table import Table

WIDTH = 120


def as_text(table: Table, width: int = WIDTH) -> str:
    """A table for the terminal, without colours."""
    console = Console(file=StringIO(), width=width)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines() if line.strip())
