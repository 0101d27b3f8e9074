"""The two tasks whose answers are words."""

import pytest

from vilam.tasks import TASKS
from vilam.tasks.base import Reading
from vilam.tasks.grammar import OneOf
from vilam.tasks.reg_caption import normalised

CLASS, CAPTION = TASKS["reg_class"], TASKS["reg_caption"]


def test_the_question_names_the_region_by_its_box(record, square):
    assert CLASS.question(0, record, square, None) == "What category is in [100, 100, 300, 500]?"


def test_the_grammar_has_the_categories_of_the_card(record, square, card):
    assert CLASS.grammar(card) == ((OneOf(("square", "dot", "house")),),)
    assert CLASS.score(Reading(text="dot"), record, square, card) == {"correct": 0.0}


@pytest.mark.parametrize(
    "text, exact", [("The red square.", 1.0), ("red square", 1.0), ("the square on the left", 1.0), ("a square", 0.0)]
)
def test_exact_ignores_case_punctuation_and_the_first_article(text, exact, record, square, card):
    assert CAPTION.score(Reading(text=text), record, square, card) == {"exact": exact}


def test_normalised_removes_case_punctuation_and_first_articles():
    assert normalised("  The, A  man's red-hat! ") == "man s red hat"
