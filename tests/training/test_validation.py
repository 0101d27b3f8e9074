"""What is measured on held-out images."""

from __future__ import annotations

import pytest
import torch
import toy

from vilam.inference.generate import Answer
from vilam.training import validation as module
from vilam.training.batching import collate
from vilam.training.sampling import Example
from vilam.training.validation import validate


def test_loss_is_the_mean_over_all_answer_tokens(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 4)  # several batches of different lengths
    model, tokenizer = toy.model().train(), toy.tokenizer()
    asked = [each for each in toy.of_split("val") if each.task in ("reg_class", "reg_caption", "rec_mask")][:11]
    measured = validate(model, tokenizer, toy.card(), toy.records(), asked)
    assert model.training and set(measured) == {"val_loss"}
    model.eval()
    total, count = 0.0, 0
    for each in asked:
        batch = collate([toy.records()[each.image_id].image], [[Example(each)]], tokenizer, model.config)
        with torch.no_grad():
            loss = model(batch.pixel_values, batch.input_ids, batch.segments, batch.labels).loss
        tokens = len(tokenizer.encode_answer(each.answer))
        total, count = total + float(loss) * tokens, count + tokens
    assert measured["val_loss"] == pytest.approx(total / count, rel=1e-4)


def test_accuracy_counts_boxes_of_iou_from_a_half(monkeypatch):
    asked = [each for each in toy.of_split("val") if each.task == "rec_box"][:4]
    said = [asked[0].answer, asked[1].answer, "[0, 0, 10, 10]", "no box"]
    monkeypatch.setattr(module, "answer_all", lambda *_: [Answer(text, (1,), 0.5) for text in said])
    measured = validate(toy.model(), toy.tokenizer(), toy.card(), toy.records(), asked)
    assert measured["val_rec_acc"] == 0.5
