"""``activation``: phase 1, captions with an object and its box, so that the model learns what coordinates mean.

Here the templates are answers, half of them with the expression first and half with the region first, so that the model
learns both to write a box and to read one. Scores: ``iou`` with the true box, 0..1.
"""

from __future__ import annotations

import re

from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.geometry.boxes import box_iou
from vilam.tasks.answers import as_words, box_text, read_box
from vilam.tasks.base import GroundingTask, Reading
from vilam.tasks.grammar import Box, Element, Grammar, Literal, Words

QUESTIONS = (
    "Describe the image.",
    "What is in the image?",
    "Describe an object in the image.",
    "Name an object and its place.",
)
_SLOTS = re.compile(r"(\{expression\}|\{region\})")


class Activation(GroundingTask):
    """Captions with coordinates; the question does not mention the region."""

    name = "activation"
    direction = "both"
    templates = (
        "there is {expression} in the bounding box of {region}",
        "{expression} is in the bounding box of {region}",
        "{expression} can be seen in {region}",
        "the image shows {expression} in {region}",
        "{expression} at {region}",
        "the bounding box of {region} holds {expression}",
        "in the bounding box of {region} there is {expression}",
        "in {region} there is {expression}",
        "the region {region} shows {expression}",
        "at {region} is {expression}",
    )

    def applies(self, region: Region, card: DatasetCard) -> bool:
        """True for every region; one without expressions is named by its category."""
        return True

    def ask(self, template: int, record: ImageRecord, region: Region, expression: Expression | None) -> str:
        """A question that asks for a caption."""
        return QUESTIONS[template % len(QUESTIONS)]

    def answer(self, record: ImageRecord, region: Region, expression: Expression | None, template: int = 0) -> str:
        """The sentence of this template."""
        text = as_words(expression.text) if expression else with_article(region.category)
        box = box_text(region.box_xyxy, record.width, record.height)
        return self.templates[template].format(expression=text, region=box)

    def grammar(self, card: DatasetCard) -> Grammar:
        """One alternative for each template."""
        return tuple(_elements(template) for template in self.templates)

    def parse(self, answer: str, width: int, height: int) -> Reading | None:
        """Read the expression and the box of a sentence of one of the templates."""
        for template in self.templates:
            match = re.fullmatch(_pattern(template), answer)
            box = read_box(match["region"], width, height) if match else None
            if match and box:
                return Reading(box_xyxy=box, text=match["expression"])
        return None

    def score(self, reading: Reading, record: ImageRecord, region: Region, card: DatasetCard) -> dict[str, float]:
        """``iou``: intersection over union with the true box."""
        return {"iou": box_iou(reading.box_xyxy, region.box_xyxy) if reading.box_xyxy else 0.0}


def with_article(category: str) -> str:
    """``a dog``, ``an umbrella``, ``an RBC``; plural names stay as they are."""
    if category.endswith("s") and not category.endswith(("ss", "us")):
        return category
    vowels = "AEFHILMNORSX" if category.isupper() else "aeiouAEIOU"
    return f"{'an' if category.startswith(tuple(vowels)) else 'a'} {category}"


def _elements(template: str) -> tuple[Element, ...]:
    slots: dict[str, Element] = {"{expression}": Words(), "{region}": Box()}
    return tuple(slots.get(part, Literal(part)) for part in _SLOTS.split(template) if part)


def _pattern(template: str) -> str:
    return (
        re.escape(template)
        .replace(r"\{expression\}", "(?P<expression>.+)")
        .replace(r"\{region\}", r"(?P<region>\[[0-9, ]+\])")
    )
