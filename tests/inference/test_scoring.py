"""Log probabilities of answers, against a forward pass over each alone."""

from __future__ import annotations

import pytest
import torch
import toy

from vilam.inference.scoring import Target, log_probabilities

QUESTIONS = ("What is in [100, 200, 300, 400]?", "Where is the red star?")


def targets() -> list[Target]:
    """Answers about the images of a batch, in no order; about one image there is none."""
    encode = toy.tokenizer().encode_answer
    texts = [(2, 0, "the red star"), (0, 1, "[0, 0, 500, 500]"), (2, 1, "[10, 20, 30, 40]"), (0, 0, "it")]
    return [Target(image, QUESTIONS[question], tuple(encode(text))) for image, question, text in texts]


@pytest.mark.parametrize("form", ["token", "text"])
def test_log_probabilities_equal_those_of_each_answer_alone(form):
    model, pixels = toy.with_grammars(coordinates=form), toy.pixels(3)
    tokenizer = model.tokenizer
    asked = [
        Target(each.image, each.question, tuple(tokenizer.encode_answer(text)))
        for each, text in zip(targets(), ("the red star", "[0, 0, 500, 500]", "[10, 20, 30, 40]", "it"), strict=True)
    ]
    for each, known in zip(asked, log_probabilities(model, pixels, asked), strict=True):
        ids = tokenizer.encode_question(each.question) + list(each.ids)
        with torch.no_grad():
            logits = model.network(
                pixels[[each.image]], torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long)
            ).logits.log_softmax(-1)
        start = len(ids) - len(each.ids) - 1
        assert list(known) == pytest.approx(
            [float(logits[start + i, token]) for i, token in enumerate(each.ids)], abs=1e-4
        )


def test_no_targets_give_no_scores_and_keep_the_training_mode():
    model = toy.with_grammars(toy.model().train())
    assert log_probabilities(model, toy.pixels(1), []) == []
    log_probabilities(model, toy.pixels(3), targets())
    assert model.network.training
