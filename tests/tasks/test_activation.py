"""Captions with coordinates."""

import pytest

from vilam.tasks import ACTIVATION
from vilam.tasks.activation import with_article


def test_half_of_the_templates_begin_with_the_region():
    firsts = [template.index("{region}") < template.index("{expression}") for template in ACTIVATION.templates]
    assert sum(firsts) * 2 == len(firsts)


def test_a_region_without_expressions_is_named_by_its_category(record, square):
    sentence = ACTIVATION.answer(record, square, None, 0)
    assert sentence == "there is a square in the bounding box of [100, 100, 300, 500]"
    reading = ACTIVATION.parse(sentence, 200, 100)
    assert reading is not None and reading.box_xyxy == square.box_xyxy and reading.text == "a square"


@pytest.mark.parametrize(
    "category, text",
    [
        ("dog", "a dog"),
        ("umbrella", "an umbrella"),
        ("RBC", "an RBC"),
        ("WBC", "a WBC"),
        ("bus", "a bus"),
        ("wine glass", "a wine glass"),
        ("scissors", "scissors"),
        ("Platelets", "Platelets"),
    ],
)
def test_articles(category, text):
    assert with_article(category) == text
