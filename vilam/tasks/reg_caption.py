"""``reg_caption``: an expression for a region. Scores: ``exact``, 1 or 0; CIDEr is computed over a whole split."""

from __future__ import annotations

import re
from functools import lru_cache

from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.tasks.answers import as_words
from vilam.tasks.base import GroundingTask, Reading
from vilam.tasks.grammar import Grammar, Words

_ARTICLES = re.compile("^(?:(?:the|a|an) )+")
_PUNCTUATION = re.compile(r"[^\w\s]|_")


class RegCaption(GroundingTask):
    """Referring region captioning; the answer is free words."""

    name = "reg_caption"
    direction = "reg"
    templates = (
        "What is described in {region}?",
        "What does {region} show?",
        "Describe the object in {region}.",
        "Describe the region {region}.",
        "Describe what is in {region}.",
        "Describe the bounding box {region}.",
        "Give an expression for {region}.",
        "Write an expression for {region}.",
        "Which expression fits {region}?",
        "Give a description of {region}.",
        "How would you describe {region}?",
    )

    def applies(self, region: Region, card: DatasetCard) -> bool:
        """Regions with an expression."""
        return bool(region.expressions)

    def answer(self, record: ImageRecord, region: Region, expression: Expression | None, template: int = 0) -> str:
        """The expression."""
        assert expression is not None, "reg_caption answers with an expression"
        return as_words(expression.text)

    def grammar(self, card: DatasetCard) -> Grammar:
        """Free words."""
        return ((Words(),),)

    def parse(self, answer: str, width: int, height: int) -> Reading | None:
        """Parse an expression; None if the answer is empty."""
        return Reading(text=answer.strip()) if answer.strip() else None

    def score(self, reading: Reading, record: ImageRecord, region: Region, card: DatasetCard) -> dict[str, float]:
        """``exact``: whether it is one of the region's expressions, ignoring case, punctuation and first articles."""
        texts = {normalised(expression.text) for expression in region.expressions}
        return {"exact": float(normalised(reading.text or "") in texts)}


@lru_cache(maxsize=1 << 14)  # the names of categories are compared with many expressions
def normalised(expression: str) -> str:
    """Lower case, no punctuation, single spaces, no articles at the start."""
    words = " ".join(_PUNCTUATION.sub(" ", expression.lower()).split())
    return _ARTICLES.sub("", words)
