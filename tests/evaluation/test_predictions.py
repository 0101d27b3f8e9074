"""Scores of single answers, and images with the same content, which count as one image in the intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from vilam.data.records import DatasetCard, ImageRecord
from vilam.data.store import content_hash
from vilam.evaluation.estimates import Bootstrap, mean_of
from vilam.evaluation.evaluator import evaluate
from vilam.evaluation.predictions import Prediction, box_iou_of, content_ids_of


def test_images_with_the_same_content_have_the_first_id(records: dict[str, ImageRecord]) -> None:
    copy = replace(records["b"], image_id="copy")
    images = {"copy": copy, "a": records["a"], "b": records["b"]}
    hashes = {name: content_hash(record.image) for name, record in images.items()}
    assert content_ids_of(hashes) == {"copy": "copy", "a": "a", "b": "copy"}


def test_answers_about_images_with_the_same_content_are_resampled_together(
    records: dict[str, ImageRecord], card: DatasetCard, predict: Callable[..., Prediction]
) -> None:
    """An image is in two splits under two ids."""
    known = records | {"c": replace(records["b"], image_id="c")}
    asked = [
        predict("rec_box", "a"),
        predict("rec_box", "b", "[0, 0, 10, 10]"),
        predict("rec_box", "c", "[0, 0, 10, 10]"),
    ]
    found = evaluate(asked, known, card, bootstrap=200, seed=0)
    assert list(found.rows["content_id"]) == ["a", "b", "b"]
    low, high = Bootstrap(["a", "b", "b"], 200, 0).interval(mean_of("mean", [1, 0, 0]))
    assert (found.metrics["rec_box/acc_0.5_low"], found.metrics["rec_box/acc_0.5_high"]) == (low, high) == (0, 1)
    assert found.metrics["rec_box/acc_0.5"] == pytest.approx(1 / 3)


def test_the_iou_of_an_answer_is_that_of_its_box_and_0_if_it_cannot_be_read(
    records: dict[str, ImageRecord], card: DatasetCard, predict: Callable[..., Prediction]
) -> None:
    asked = predict("rec_box").instruction
    assert box_iou_of("[100, 200, 500, 600]", asked, records, card) == pytest.approx(1)
    assert box_iou_of("[100, 200, 300, 600]", asked, records, card) == pytest.approx(0.5)
    assert box_iou_of("nonsense", asked, records, card) == 0
