"""Images of the same content are one picture, also to the intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from vilam.data.leakage import content_hash
from vilam.data.records import DatasetCard, ImageRecord
from vilam.evaluation.evaluator import Prediction, evaluate
from vilam.evaluation.metrics import bootstrap_interval
from vilam.evaluation.pictures import same_pictures


def test_a_picture_is_known_by_the_first_name_that_it_has(records: dict[str, ImageRecord]) -> None:
    twin = replace(records["b"], image_id="twin")
    images = {"twin": twin, "a": records["a"], "b": records["b"]}
    hashes = {name: content_hash(record.image) for name, record in images.items()}
    assert same_pictures(hashes) == {"twin": "twin", "a": "a", "b": "twin"}


def test_answers_on_one_picture_are_drawn_together(
    records: dict[str, ImageRecord], card: DatasetCard, predict: Callable[..., Prediction]
) -> None:
    """A picture of two splits is one draw, so that its two wrong answers do not count as two pictures' answers."""
    known = records | {"c": replace(records["b"], image_id="c")}
    asked = [
        predict("rec_box", "a"),
        predict("rec_box", "b", "[0, 0, 10, 10]"),
        predict("rec_box", "c", "[0, 0, 10, 10]"),
    ]
    found = evaluate(asked, known, card, bootstrap=200, seed=0)
    assert list(found.rows["picture"]) == ["a", "b", "b"]
    low, high = bootstrap_interval([1, 0, 0], ["a", "b", "b"], 200, 0)
    assert (found.metrics["rec_box/acc_0.5_low"], found.metrics["rec_box/acc_0.5_high"]) == (low, high) == (0, 1)
    assert found.metrics["rec_box/acc_0.5"] == pytest.approx(1 / 3)
