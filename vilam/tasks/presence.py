"""``presence``: whether anything in an image fits an expression. Scores: ``correct``, 1 or 0.

The probability of "yes" ranks the images of a split: the evaluation computes the area under the ROC curve from it.
"""

from __future__ import annotations

from vilam.data.records import DatasetCard, Group, ImageRecord
from vilam.tasks.base import GroupTask, Reading
from vilam.tasks.grammar import Grammar, OneOf

YES, NO = "yes", "no"


def probability_of_yes(reading: Reading, probability: float) -> float:
    """The probability of "yes", from that of the answer; 0.5 if the answer cannot be parsed."""
    if reading.text is None:
        return 0.5
    return probability if reading.text == YES else 1 - probability


class Presence(GroupTask):
    """Whether there is any such region; the answer is ``yes`` or ``no``."""

    name = "presence"
    templates = (
        "Is there any {expression} in the image?",
        "Is there any {expression}?",
        "Is any {expression} in the image?",
        "Does the image show any {expression}?",
        "Does the image hold any {expression}?",
        "Does the image have any {expression}?",
        "Can you see any {expression}?",
        "Can any {expression} be seen?",
        "Do you see any {expression}?",
        "Tell whether there is any {expression}.",
    )

    def answer(self, record: ImageRecord, group: Group) -> str:
        """Yes or no."""
        return YES if group.region_ids else NO

    def grammar(self, card: DatasetCard) -> Grammar:
        """Yes or no."""
        return ((OneOf((YES, NO)),),)

    def parse(self, answer: str, width: int, height: int) -> Reading | None:
        """Parse ``yes`` or ``no``."""
        return Reading(text=answer) if answer in (YES, NO) else None

    def score(self, reading: Reading, record: ImageRecord, group: Group) -> dict[str, float]:
        """``correct``: whether the answer is the true one."""
        return {"correct": float(reading.text == self.answer(record, group))}
