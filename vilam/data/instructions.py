"""The instruction: one question and answer of one grounding task on one region."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instruction:
    """A rendered question/answer pair; coordinates in both are the paper's integers 0-1000.

    template: index of the question template. expression, expression_kind and expression_source are those of the
    expression that the instruction uses ("" where it uses none, as in region classification).
    """

    instruction_id: str
    task: str
    split: str
    image_id: str
    region_id: str
    question: str
    answer: str
    template: int
    expression: str = ""
    expression_kind: str = ""
    expression_source: str = ""
