"""Which free texts beside an object are words that mean it, and which are notes, numbers or what is written on it."""

from __future__ import annotations

import re

NO_EXPRESSION = re.compile(
    r"\b(?:brand|code|comments?|id|identifier|make|manufacturer|model|names?|notes?|numbers?|ocr|plate|remarks?|review"
    r"|serial|track|transcript|transcription|url|version)\b"
)
"""Words in the names of fields whose text is no expression."""
WORD = re.compile(r"[^\W\d_]{2,}")


def is_expression(field: str, text: str, least: int = 2) -> bool:
    """Whether a field's text is clearly an expression: ``least`` words or more, in a field that may hold one."""
    if NO_EXPRESSION.search(re.sub(r"[\W_]+", " ", field.lower())):
        return False
    return "://" not in text and len(WORD.findall(text)) >= least
