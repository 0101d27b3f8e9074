"""Validation on held-out images during training."""

from __future__ import annotations

import pytest
import torch
import toy

from vilam.cycle.examples import Example
from vilam.inference.generate import Answer
from vilam.training import validation as module
from vilam.training.batching import collate
from vilam.training.validation import collapsed, validate


def test_validation_loss_is_the_mean_over_all_answer_tokens(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 4)  # several batches of different lengths
    network, tokenizer = toy.model().train(), toy.tokenizer()
    model = toy.with_grammars(network)
    asked = [each for each in toy.of_split("val") if each.task in ("reg_class", "reg_caption", "rec_mask")][:11]
    measured = validate(model, toy.records(), asked)
    assert network.training and "val_rec_acc" not in measured
    network.eval()
    total, count = 0.0, 0
    for each in asked:
        batch = collate(model, [toy.records()[each.image_id].image], [[Example(each)]])
        with torch.no_grad():
            loss = network(**batch.inputs, labels=batch.labels).loss
        tokens = len(tokenizer.encode_answer(each.answer))
        total, count = total + float(loss) * tokens, count + tokens
    assert measured["val_loss"] == pytest.approx(total / count, rel=1e-4)


def test_validation_accuracy_counts_boxes_with_an_iou_of_0_5_or_more(monkeypatch):
    asked = [each for each in toy.of_split("val") if each.task == "rec_box"][:4]
    x1, y1, x2, y2 = map(float, asked[0].answer.strip("[]").split(", "))
    part_of_first = f"[{x1}, {y1}, {{}}, {y2}]"  # its width, as a fraction of the true width, is the IoU
    replies = [part_of_first.format(round(x1 + part * (x2 - x1))) for part in (0.55, 0.45)]
    asked = [asked[0], asked[0], asked[1], asked[2], asked[3]]
    replies += [asked[2].answer, "[0, 0, 10, 10]", "no box"]
    monkeypatch.setattr(module, "answer_all", lambda *_: [Answer(text, (1,), 0.5) for text in replies])
    measured = validate(toy.with_grammars(), toy.records(), asked)
    assert measured["val_rec_acc"] == 2 / 5


def test_validation_counts_an_iou_of_exactly_0_5(monkeypatch):
    asked = [each for each in toy.of_split("val") if each.task == "rec_box"][:1]
    monkeypatch.setattr(module, "answer_all", lambda *_: [Answer("", (1,), 0.5)])
    monkeypatch.setattr(module, "box_iou_of", lambda *_: 0.5)
    assert validate(toy.with_grammars(), toy.records(), asked)["val_rec_acc"] == 1


def test_validation_measures_the_diversity_of_expressions(monkeypatch):
    asked = [each for each in toy.of_split("val") if each.task == "reg_caption"][:4]
    replies = ["the red star", "the star", "the star", "the star"]
    monkeypatch.setattr(module, "answer_all", lambda *_: [Answer(text, (1,), 0.5) for text in replies])
    measured = validate(toy.with_grammars(), toy.records(), asked)
    assert measured["val_distinct_1"] == pytest.approx(3 / 9) and measured["val_num_words"] == 2.25
    assert "val_rec_acc" not in measured


@pytest.mark.parametrize("name", ["val_distinct_2", "val_entropy"])
def test_collapse_is_reported_when_the_diversity_is_halved(name):
    before = {"val_distinct_2": 0.4, "val_entropy": 0.8}
    assert collapsed(before, before) is None and collapsed({}, {}) is None
    alarm = collapsed(before | {name: before[name] * 0.49}, before)
    assert alarm is not None and name in alarm
    assert collapsed(before | {name: before[name] / 2}, before) is None
    assert collapsed(before | {name: before[name] * 0.51}, before) is None
