"""The threshold of uncertain boxes, from answers whose certainty and truth are known."""

from __future__ import annotations

import random
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import toy

from vilam.data.instructions import Instruction
from vilam.evaluation import certainty
from vilam.inference.generate import Answer
from vilam.layout import Layout
from vilam.stages import train
from vilam.stages.phase import validation_split

ANSWER = Answer("[1, 1, 9, 9]", (), 1.0)


def curve(monkeypatch: pytest.MonkeyPatch, known: list[tuple[float, bool]]) -> dict[str, Any] | None:
    """The curve of answers of these certainties, right or wrong; the expression of each question is its number."""
    monkeypatch.setattr(
        certainty, "answer_all", lambda _, __, asked, ___: [Answer("[1, 1, 9, 9]", (), 1.0)] * len(asked)
    )
    monkeypatch.setattr(certainty, "certainties", lambda _, __, found: [known[int(one.expression)][0] for one in found])
    monkeypatch.setattr(certainty, "box_iou_of", lambda _, one, __, ___: 0.5 if known[int(one.expression)][1] else 0.4)
    record = SimpleNamespace(width=100, height=100, image=b"")
    model: Any = SimpleNamespace(card=None, network=SimpleNamespace(preprocess=lambda images: images))
    one = Instruction("", "rec_box", "val", "a", "", "", "", 0)
    asked = [replace(one, image_id=str(number % 7), expression=str(number)) for number in range(len(known))]
    return certainty.certainty_curve(model, {str(name): record for name in range(7)}, asked)  # type: ignore[arg-type]


def test_nine_in_ten_of_the_right_answers_stay_above_the_threshold(monkeypatch):
    """Right ones have 0.101, 0.102 … 0.2; wrong ones are below and among them."""
    known = [((101 + number) / 1000, True) for number in range(100)]
    known += [(number / 1000, False) for number in range(50)] + [(0.1505, False), (0.1005, False)]
    random.Random(1).shuffle(known)
    found = curve(monkeypatch, known)
    assert found is not None and found["threshold"] == 0.111
    assert found["accuracy_above"] == pytest.approx(90 / 91) and found["coverage_above"] == pytest.approx(91 / 152)
    tenths = found["curve"]
    assert [round(row["coverage"] * 152) for row in tenths] == [16, 31, 46, 61, 76, 92, 107, 122, 137, 152]
    assert tenths[0] == {"coverage": 16 / 152, "acc_0.5": 1.0, "certainty": 0.185}  # 0.200 … 0.185
    assert tenths[4]["acc_0.5"] == pytest.approx(75 / 76) and tenths[9]["acc_0.5"] == pytest.approx(100 / 152)


def test_few_right_answers_give_no_threshold(monkeypatch):
    assert curve(monkeypatch, [(0.5, True)] * 49 + [(0.1, False)] * 200) is None
    assert curve(monkeypatch, [(0.5, True)] * 50) is not None


def test_the_test_split_gives_no_threshold(tmp_path):
    """There are no files here: nothing is read before the split and the tasks are checked."""
    card = replace(toy.card(), splits=("train", "test"))
    data: Any = SimpleNamespace(records=SimpleNamespace(card=card))
    assert validation_split(card) is None
    assert train.certainty({"rec_box", "reg_caption"}, Layout(tmp_path), data, None) == {}  # type: ignore[arg-type]


def test_a_model_that_cannot_describe_has_no_threshold(tmp_path):
    card = replace(toy.card(), splits=("train", "val", "test"))
    data: Any = SimpleNamespace(records=SimpleNamespace(card=card))
    assert validation_split(card) == "val"
    assert train.certainty({"rec_box"}, Layout(tmp_path), data, None) == {}  # type: ignore[arg-type]


def test_regions_of_two_images_may_have_the_same_id(monkeypatch, tmp_path):
    """Each is asked about once, with one of its expressions."""
    ids = [("a", "0"), ("a", "0"), ("b", "0"), ("b", "1")]
    questions = [SimpleNamespace(image_id=image, region_id=region) for image, region in ids]
    monkeypatch.setattr(train, "read_instructions", lambda *_: questions)
    monkeypatch.setattr(train, "autocast", lambda *_: nullcontext())
    asked = []
    monkeypatch.setattr(train, "certainty_curve", lambda _, __, chosen: asked.extend(chosen))
    card = replace(toy.card(), splits=("train", "val"))
    data: Any = SimpleNamespace(records=SimpleNamespace(card=card), held_out=None)
    model: Any = SimpleNamespace(network=None)
    train.certainty({"rec_box", "reg_caption"}, Layout(tmp_path), data, model)
    assert [(each.image_id, each.region_id) for each in asked] == [("a", "0"), ("b", "0"), ("b", "1")]
