"""CIDEr-D against the values of the official scorer, COCO's own metrics if they are installed, and diversity."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable

import pytest

from vilam.evaluation import captions
from vilam.evaluation.captions import cider, coco_caption_metrics, diversity, words
from vilam.evaluation.evaluator import Evaluation
from vilam.evaluation.predictions import Prediction

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


def test_cider_equals_the_official_scorer() -> None:
    assert cider(CANDIDATES, REFERENCES, REFERENCES) == pytest.approx(OFFICIAL)


def test_cider_of_a_region_asked_twice_is_unchanged() -> None:
    once = cider(CANDIDATES, REFERENCES, REFERENCES)
    twice = cider(CANDIDATES * 2, REFERENCES * 2, REFERENCES)
    assert twice == pytest.approx(once * 2)


def test_cider_of_the_only_reference_is_10_if_it_has_four_words_or_more() -> None:
    references = [["a small red circle"], ["the blue square on top"]]
    assert cider(["A small, red circle.", "the blue square on top"], references, references) == pytest.approx([10, 10])


@pytest.mark.parametrize("candidate", ["", "...", "other words entirely"])
def test_cider_without_a_common_word_is_0(candidate: str) -> None:
    assert cider([candidate], [["a red circle"]], [["a red circle"], ["a blue square"]]) == [0]


def test_cider_of_a_single_region_is_0() -> None:
    assert cider(["a red circle"], [["a red circle"]], [["a red circle"]]) == [0]


def test_words_are_lower_case_and_keep_apostrophes_accents_and_numbers() -> None:
    assert words("The woman's 2nd café-table, left!") == ["the", "woman's", "2nd", "café", "table", "left"]


ACCEPTED = [
    ["the large red dog on the left", "a red dog"],
    ["the second cat from the right"],
    ["two boats at the pier"],
]
COCO_NAMES = {"coco_bleu_4", "coco_meteor", "coco_rouge_l", "coco_cider"}


@pytest.fixture
def installed() -> None:
    pytest.importorskip("pycocoevalcap", reason="pip install 'vilam[captions]'")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")


@pytest.mark.usefixtures("installed")
def test_the_true_captions_have_the_best_coco_scores() -> None:
    found = coco_caption_metrics([each[0] for each in ACCEPTED], ACCEPTED)
    assert found.keys() == COCO_NAMES
    assert [found[name] for name in ("coco_bleu_4", "coco_meteor", "coco_rouge_l")] == pytest.approx([1, 1, 1])


@pytest.mark.usefixtures("installed")
def test_coco_scores_ignore_case_and_punctuation_and_are_0_for_empty_texts() -> None:
    plain = coco_caption_metrics([each[0] for each in ACCEPTED], ACCEPTED)
    assert coco_caption_metrics([f"{each[0].upper()}." for each in ACCEPTED], ACCEPTED) == pytest.approx(plain)
    assert coco_caption_metrics(["", "", ""], ACCEPTED) == pytest.approx(dict.fromkeys(COCO_NAMES, 0), abs=1e-6)


@pytest.mark.usefixtures("installed")
def test_cider_equals_coco_s_if_the_tokens_are_the_same() -> None:
    written = ["the large red dog", "the second dog from the right", "two boats"]
    ours = cider(written, ACCEPTED, ACCEPTED)
    assert coco_caption_metrics(written, ACCEPTED)["coco_cider"] == pytest.approx(sum(ours) / 3, abs=1e-6)


def test_there_are_no_coco_scores_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "find_spec", lambda _: None)
    assert coco_caption_metrics(["a dog"], [["a dog"]]) == {}


def test_missing_java_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(captions, "find_spec", lambda _: object())
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert coco_caption_metrics(["a dog"], [["a dog"]]) == {}
    assert "needs Java" in caplog.text


def test_the_evaluation_includes_coco_scores(
    predict: Callable[..., Prediction], score: Callable[..., Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], list[tuple[str, ...]]]] = []

    def measured(written: list[str], true: list[tuple[str, ...]]) -> dict[str, float]:
        calls.append((written, true))
        return {"coco_bleu_4": 0.25}

    monkeypatch.setattr("vilam.evaluation.evaluator.coco_caption_metrics", measured)
    found = score(predict("reg_caption", "a", "the red star"), predict("rec_box"))
    assert found.metrics["reg_caption/coco_bleu_4"] == 0.25
    assert calls == [(["the red star"], [("the red star", "star on the <script>alert(1)</script> left")])]


def test_diversity_equals_counts_by_hand():
    found = diversity(["the red star", "the star", "The star!"])
    assert found["distinct_1"] == pytest.approx(3 / 7)  # the, red, star of 7 words
    assert found["distinct_2"] == pytest.approx(3 / 4)  # the red, red star, the star of 4 pairs
    assert found["num_words"] == pytest.approx(7 / 3)
    bits = -(1 / 3 * math.log2(1 / 3) + 2 / 3 * math.log2(2 / 3))
    assert found["entropy"] == pytest.approx(bits / math.log2(3))


def test_repeated_expressions_have_no_diversity():
    collapsed, fresh = diversity(["the circle"] * 50), diversity([f"the thing {i}" for i in range(50)])
    assert collapsed["entropy"] == 0 and fresh["entropy"] == pytest.approx(1)
    assert collapsed["distinct_2"] == pytest.approx(1 / 50) and fresh["distinct_2"] > 0.5


def test_diversity_of_no_expression_one_expression_and_single_words():
    assert diversity([]) == {} and diversity(["star"])["entropy"] == 1
    assert diversity(["star", "ring"])["distinct_2"] == 0
