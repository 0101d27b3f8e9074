"""The documents of the project and the commands in their fenced blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parents[1]
DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md"),
    *(f"{folder}/README.md" for folder in ("benchmarks", "data", "findings", "mlruns")),
    *sorted(f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md")),
)
PROGRAMS = (
    *("base64", "curl", "dvc", "export", "for", "git", "make", "mlflow", "pip", "prefect", "python", "rm", "source"),
    *("uv", "vilam"),
)
"""First words of lines that a shell runs."""
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def text(name: str = "README.md") -> str:
    """A document."""
    return (PROJECT / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``number`` counts those of its document from 0."""

    document: str
    number: int
    language: str
    content: str

    @property
    def lines(self) -> list[str]:
        """Its lines; a backslash at the end continues one."""
        return self.content.replace("\\\n", " ").splitlines()

    @property
    def prompted(self) -> bool:
        """Whether commands follow ``$ `` and the other lines are what they print."""
        return self.content.startswith("$ ")

    @property
    def commands(self) -> list[str]:
        """What a shell runs, in order; none if it is no block of commands."""
        if self.prompted:
            return [line[2:] for line in self.lines if line.startswith("$ ")]
        first = re.match(r"(?:\w+=\S+ )*(\w+)\s", self.content)
        if self.language or not first or first[1] not in PROGRAMS:
            return []
        return [line for line in self.lines if line.strip() and not line.lstrip().startswith("#")]

    @property
    def printed(self) -> list[str]:
        """The lines that a program prints."""
        if self.prompted:
            return [line for line in self.lines if not line.startswith("$ ")]
        return [] if self.commands or self.language else self.lines


@cache
def blocks() -> tuple[Block, ...]:
    """The fenced blocks of all documents."""
    return tuple(_blocks())


def _blocks() -> Iterator[Block]:
    for name in DOCUMENTS:
        for number, found in enumerate(BLOCK.finditer(text(name))):
            yield Block(name, number, found[1], found[2])


def all_commands() -> list[tuple[Block, str]]:
    """Every command with its block, in the order of the documents."""
    return [(block, command) for block in blocks() for command in block.commands]
