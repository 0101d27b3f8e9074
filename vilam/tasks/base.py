"""The interface of a task: its question, its true answer, the parser of answers, and the score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from vilam.data.records import DatasetCard, Expression, Group, ImageRecord, Point, Polygon, Region
from vilam.geometry.boxes import Box
from vilam.tasks.answers import as_words, box_text
from vilam.tasks.grammar import Grammar


@dataclass(frozen=True, slots=True)
class Reading:
    """A parsed answer, in absolute pixels of the original image; a task sets only its own fields.

    boxes: of a task whose answers have any number of boxes; () if the answer says that there is none.
    """

    box_xyxy: Box | None = None
    boxes: tuple[Box, ...] | None = None
    points: tuple[Point, ...] | None = None
    polygons: tuple[Polygon, ...] | None = None
    text: str | None = None


class Task(ABC):
    """One task, in a file of its own.

    ``direction`` is "rec" (expression -> region), "reg" (region -> words) or "both" (activation).
    ``templates`` are at least ten questions, each with one slot, ``{expression}`` (rec) or ``{region}`` (reg).
    """

    name: ClassVar[str]
    direction: ClassVar[Literal["rec", "reg", "both"]]
    templates: ClassVar[tuple[str, ...]]

    @abstractmethod
    def grammar(self, card: DatasetCard) -> Grammar:
        """All answers that the task can give on this data set."""

    @abstractmethod
    def parse(self, answer: str, width: int, height: int) -> Reading | None:
        """Parse an answer into pixels of a width x height image; None if it cannot be parsed."""


class GroundingTask(Task):
    """A task on one region, registered in ``vilam.tasks.TASKS``.

    ``uses``: the expressions of a region that become instructions: "every" one, "one" of them, or "none".
    """

    uses: ClassVar[Literal["every", "one", "none"]] = "every"

    @abstractmethod
    def applies(self, region: Region, card: DatasetCard) -> bool:
        """Whether this region has what the task needs (keypoints, polygons, ...)."""

    def question(self, template: int, record: ImageRecord, region: Region, expression: Expression | None) -> str:
        """The question as text, with coordinates 0-1000, after the domain of the image; an expression has none."""
        return _in_domain(record, self.ask(template, record, region, expression))

    def ask(self, template: int, record: ImageRecord, region: Region, expression: Expression | None) -> str:
        """The question without the domain."""
        if self.direction == "reg":
            return self.templates[template].format(region=box_text(region.box_xyxy, record.width, record.height))
        assert expression is not None, f"{self.name} asks with an expression"
        return self.templates[template].format(expression=as_words(expression.text))

    @abstractmethod
    def answer(self, record: ImageRecord, region: Region, expression: Expression | None, template: int = 0) -> str:
        """The true answer as text, with coordinates 0-1000; only activation uses the template."""

    @abstractmethod
    def score(self, reading: Reading, record: ImageRecord, region: Region, card: DatasetCard) -> dict[str, float]:
        """Score a parsed answer against the true region; the keys are the task's own (see its module)."""

    def judge(self, answer: str, record: ImageRecord, region: Region, card: DatasetCard) -> dict[str, float]:
        """Parse an answer and score it; one that cannot be parsed counts as empty."""
        return self.score(self.parse(answer, record.width, record.height) or Reading(), record, region, card)


class GroupTask(Task):
    """A task on all regions that an expression means: several, one or none. Registered in `vilam.tasks.GROUP_TASKS`.

    Every question has an expression.
    """

    direction = "rec"

    def question(self, template: int, record: ImageRecord, expression: str) -> str:
        """The question as text, after the domain of the image."""
        return _in_domain(record, self.templates[template].format(expression=as_words(expression)))

    @abstractmethod
    def answer(self, record: ImageRecord, group: Group) -> str:
        """The true answer as text, with coordinates 0-1000."""

    @abstractmethod
    def score(self, reading: Reading, record: ImageRecord, group: Group) -> dict[str, float]:
        """Score an answer against the true regions; the keys are the task's own (see its module)."""


def _in_domain(record: ImageRecord, question: str) -> str:
    return f"{as_words(record.domain)} {question}" if record.domain else question
