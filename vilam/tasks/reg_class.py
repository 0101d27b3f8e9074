"""``reg_class``: the category of the object in a region. Scores: ``correct``, 1 or 0."""

from __future__ import annotations

from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.tasks.base import GroundingTask, Reading
from vilam.tasks.grammar import Grammar, OneOf


class RegClass(GroundingTask):
    """Referring region classification; the answer is the name of a category of the data set."""

    name = "reg_class"
    direction = "reg"
    uses = "none"
    templates = (
        "What category is in {region}?",
        "What class is the object in {region}?",
        "Which category is the object in {region}?",
        "Which class is in {region}?",
        "What kind of object is in {region}?",
        "What is the category of {region}?",
        "Name the category of {region}.",
        "Name the class in {region}.",
        "Give the category of {region}.",
        "Classify the object in {region}.",
        "Classify the region {region}.",
    )

    def applies(self, region: Region, card: DatasetCard) -> bool:
        """Regions of a category that the card names."""
        return region.category in card.categories

    def answer(self, record: ImageRecord, region: Region, expression: Expression | None, template: int = 0) -> str:
        """The category's name."""
        return region.category

    def grammar(self, card: DatasetCard) -> Grammar:
        """One of the card's categories; nothing if it has none."""
        return ((OneOf(card.categories),),) if card.categories else ()

    def parse(self, answer: str, width: int, height: int) -> Reading | None:
        """Parse a name; None if the answer is empty."""
        return Reading(text=answer.strip()) if answer.strip() else None

    def score(self, reading: Reading, record: ImageRecord, region: Region, card: DatasetCard) -> dict[str, float]:
        """``correct``: whether the name is the region's category."""
        return {"correct": float(reading.text == region.category)}
