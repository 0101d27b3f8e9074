"""COCO's own caption metrics: what must hold if they are installed; without them there are no numbers."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from vilam.evaluation import coco_captions
from vilam.evaluation.captions import cider
from vilam.evaluation.coco_captions import coco_caption_metrics
from vilam.evaluation.evaluator import Evaluation
from vilam.evaluation.predictions import Prediction

TRUE = [["the large red dog on the left", "a red dog"], ["the second cat from the right"], ["two boats at the pier"]]
NAMES = {"coco_bleu_4", "coco_meteor", "coco_rouge_l", "coco_cider"}


@pytest.fixture
def installed() -> None:
    pytest.importorskip("pycocoevalcap", reason="pip install 'vilam[captions]'")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")


@pytest.mark.usefixtures("installed")
def test_the_truth_scores_full() -> None:
    found = coco_caption_metrics([each[0] for each in TRUE], TRUE)
    assert found.keys() == NAMES
    assert [found[name] for name in ("coco_bleu_4", "coco_meteor", "coco_rouge_l")] == pytest.approx([1, 1, 1])


@pytest.mark.usefixtures("installed")
def test_case_and_punctuation_do_not_count_and_empty_texts_score_0() -> None:
    plain = coco_caption_metrics([each[0] for each in TRUE], TRUE)
    assert coco_caption_metrics([f"{each[0].upper()}." for each in TRUE], TRUE) == pytest.approx(plain)
    assert coco_caption_metrics(["", "", ""], TRUE) == pytest.approx(dict.fromkeys(NAMES, 0), abs=1e-6)


@pytest.mark.usefixtures("installed")
def test_our_cider_is_theirs_if_the_tokens_are_the_same() -> None:
    written = ["the large red dog", "the second dog from the right", "two boats"]
    ours = cider(written, TRUE, TRUE)
    assert coco_caption_metrics(written, TRUE)["coco_cider"] == pytest.approx(sum(ours) / 3, abs=1e-6)


def test_without_the_package_there_are_no_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_captions, "find_spec", lambda _: None)
    assert coco_caption_metrics(["a dog"], [["a dog"]]) == {}


def test_without_java_there_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(coco_captions, "find_spec", lambda _: object())
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert coco_caption_metrics(["a dog"], [["a dog"]]) == {}
    assert "needs Java" in caplog.text


def test_the_evaluation_has_them(
    predict: Callable[..., Prediction], score: Callable[..., Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], list[tuple[str, ...]]]] = []

    def measured(written: list[str], true: list[tuple[str, ...]]) -> dict[str, float]:
        asked.append((written, true))
        return {"coco_bleu_4": 0.25}

    monkeypatch.setattr("vilam.evaluation.evaluator.coco_caption_metrics", measured)
    found = score(predict("reg_caption", "a", "the red star"), predict("rec_box"))
    assert found.metrics["reg_caption/coco_bleu_4"] == 0.25
    assert asked == [(["the red star"], [("the red star", "star on the <script>alert(1)</script> left")])]
