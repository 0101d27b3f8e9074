"""Log probabilities of given answers, against the model asked about each alone."""

from __future__ import annotations

import pytest
import torch
import toy

from vilam.inference.scoring import Given, log_probabilities

QUESTIONS = ("What is in [100, 200, 300, 400]?", "Where is the red star?")


def given() -> list[Given]:
    """Of the images of a batch, one of which nothing is said about, in no order."""
    encode = toy.tokenizer().encode_answer
    texts = [(2, 0, "the red star"), (0, 1, "[0, 0, 500, 500]"), (2, 1, "[10, 20, 30, 40]"), (0, 0, "it")]
    return [Given(image, QUESTIONS[question], tuple(encode(text))) for image, question, text in texts]


@pytest.mark.parametrize("form", ["token", "text"])
def test_they_are_those_of_each_answer_alone(form):
    model, tokenizer, pixels = toy.model(coordinates=form), toy.tokenizer(form), toy.pixels(3)
    said = [
        Given(each.image, each.question, tuple(tokenizer.encode_answer(text)))
        for each, text in zip(given(), ("the red star", "[0, 0, 500, 500]", "[10, 20, 30, 40]", "it"), strict=True)
    ]
    for each, known in zip(said, log_probabilities(model, tokenizer, pixels, said), strict=True):
        ids = tokenizer.encode_question(each.question) + list(each.ids)
        with torch.no_grad():
            logits = model(
                pixels[[each.image]], torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long)
            ).logits.log_softmax(-1)
        start = len(ids) - len(each.ids) - 1
        assert list(known) == pytest.approx(
            [float(logits[start + i, token]) for i, token in enumerate(each.ids)], abs=1e-4
        )


def test_nothing_given_nothing_told_and_training_goes_on():
    model = toy.model().train()
    assert log_probabilities(model, toy.tokenizer(), toy.pixels(1), []) == []
    log_probabilities(model, toy.tokenizer(), toy.pixels(3), given())
    assert model.training
