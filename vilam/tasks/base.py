"""What a task is: how to ask, how to answer, how to read the answer back, how to score it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from vilam.data.records import DatasetCard, Expression, Group, ImageRecord, Point, Polygon, Region
from vilam.geometry.boxes import Box
from vilam.tasks.answers import box_text
from vilam.tasks.grammar import Grammar


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer read back, in absolute pixels of the original image; only what the task speaks of is set.

    boxes: of an answer that tells of any number of them; () where it says that there is none.
    """

    box_xyxy: Box | None = None
    boxes: tuple[Box, ...] | None = None
    points: tuple[Point, ...] | None = None
    polygons: tuple[Polygon, ...] | None = None
    text: str | None = None


class Task(ABC):
    """One task; one file each.

    ``direction`` is "rec" (expression -> region), "reg" (region -> words) or "both" (activation).
    ``templates`` are at least ten questions, each with the one slot ``{expression}`` (rec) or ``{region}`` (reg).
    """

    name: ClassVar[str]
    direction: ClassVar[Literal["rec", "reg", "both"]]
    templates: ClassVar[tuple[str, ...]]

    @abstractmethod
    def grammar(self, card: DatasetCard) -> Grammar:
        """All answers that the task can give on this data set."""

    @abstractmethod
    def parse(self, answer: str, width: int, height: int) -> Reading | None:
        """Read an answer back into pixels of a width x height image; None where it cannot be read."""


class GroundingTask(Task):
    """A task on one region, registered in ``vilam.tasks.TASKS``.

    ``uses`` says which expressions of a region make an instruction: "every" one, "one" of them, "none".
    """

    uses: ClassVar[Literal["every", "one", "none"]] = "every"

    @abstractmethod
    def applies(self, region: Region, card: DatasetCard) -> bool:
        """Whether this region has what the task asks for (keypoints, polygons, ...)."""

    def question(self, template: int, record: ImageRecord, region: Region, expression: Expression | None) -> str:
        """The question in words, coordinates 0-1000, after the domain of the image."""
        return _in_domain(record, self.ask(template, record, region, expression))

    def ask(self, template: int, record: ImageRecord, region: Region, expression: Expression | None) -> str:
        """The question without the domain."""
        if self.direction == "reg":
            return self.templates[template].format(region=box_text(region.box_xyxy, record.width, record.height))
        assert expression is not None, f"{self.name} asks with an expression"
        return self.templates[template].format(expression=expression.text)

    @abstractmethod
    def answer(self, record: ImageRecord, region: Region, expression: Expression | None, template: int = 0) -> str:
        """The true answer in words, coordinates 0-1000; only activation heeds the template."""

    @abstractmethod
    def score(self, reading: Reading, record: ImageRecord, region: Region, card: DatasetCard) -> dict[str, float]:
        """Score a readable answer against the true region; the keys are the task's own (see its module)."""

    def judge(self, answer: str, record: ImageRecord, region: Region, card: DatasetCard) -> dict[str, float]:
        """Read an answer and score it; one that cannot be read says nothing."""
        return self.score(self.parse(answer, record.width, record.height) or Reading(), record, region, card)


class GroupTask(Task):
    """A task on all that an expression means, be it several regions or none, registered in `vilam.tasks.GROUP_TASKS`.

    It is always asked with an expression.
    """

    direction = "rec"

    def question(self, template: int, record: ImageRecord, expression: str) -> str:
        """The question in words, after the domain of the image."""
        return _in_domain(record, self.templates[template].format(expression=expression))

    @abstractmethod
    def answer(self, record: ImageRecord, group: Group) -> str:
        """The true answer in words, coordinates 0-1000."""

    @abstractmethod
    def score(self, reading: Reading, record: ImageRecord, group: Group) -> dict[str, float]:
        """Score an answer against the true regions; the keys are the task's own (see its module)."""


def _in_domain(record: ImageRecord, question: str) -> str:
    return f"{record.domain} {question}" if record.domain else question
