"""CIDEr-D against the values of the official scorer."""

import pytest

from vilam.evaluation.captions import cider, words

CANDIDATES = [
    "the small red circle",
    "the blue square left of the green star",
    "a large dog on the grass",
    "the star",
    "red circle red circle",
]
REFERENCES = [
    ["the small red circle", "small red circle on the left"],
    ["the blue square", "the square left of the green star"],
    ["a big brown dog lying on the grass", "dog", "large dog on grass"],
    ["the green star", "the star on top"],
    ["the red circle", "circle"],
]
# What pycocoevalcap 1.2's cider_scorer.CiderScorer (n=4, sigma=6) gives for these texts, already split by spaces.
OFFICIAL = [7.010102812978043, 5.160297655190899, 2.5419227055892826, 2.1183473935790667, 1.235529227737885]


def test_cider_is_that_of_the_official_scorer() -> None:
    assert cider(CANDIDATES, REFERENCES, REFERENCES) == pytest.approx(OFFICIAL)


def test_asking_twice_about_a_region_leaves_the_document_frequencies_alone() -> None:
    once = cider(CANDIDATES, REFERENCES, REFERENCES)
    twice = cider(CANDIDATES * 2, REFERENCES * 2, REFERENCES)
    assert twice == pytest.approx(once * 2)


def test_the_only_reference_scores_10_if_it_has_four_words_or_more() -> None:
    references = [["a small red circle"], ["the blue square on top"]]
    assert cider(["A small, red circle.", "the blue square on top"], references, references) == pytest.approx([10, 10])


@pytest.mark.parametrize("candidate", ["", "...", "unheard words"])
def test_nothing_in_common_scores_0(candidate: str) -> None:
    assert cider([candidate], [["a red circle"]], [["a red circle"], ["a blue square"]]) == [0]


def test_with_one_region_no_word_has_any_weight() -> None:
    assert cider(["a red circle"], [["a red circle"]], [["a red circle"]]) == [0]


def test_words_are_lower_case_and_keep_apostrophes_accents_and_numbers() -> None:
    assert words("The woman's 2nd café-table, left!") == ["the", "woman's", "2nd", "café", "table", "left"]
