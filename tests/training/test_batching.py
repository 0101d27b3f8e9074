"""Examples to tensors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import toy

from vilam.cycle.examples import Example, FirstLeg, Sampled
from vilam.models.backbones.images import load_pixels
from vilam.models.losses import IGNORED, Policy, policy_losses
from vilam.training.batching import collate


def test_instructions_are_packed_one_after_the_other_with_labelled_answers():
    tokenizer, model = toy.tokenizer(), toy.model()
    chosen = toy.scenes()[:2]
    examples = [
        [Example(each, 0.5 * (1 + i)) for i, each in enumerate(toy.instructions()) if each.image_id == record.image_id]
        for record in chosen
    ]
    examples = [examples[0][:5], examples[1][:2]]
    batch = collate(toy.with_grammars(model), [record.image for record in chosen], examples)
    assert torch.equal(batch.inputs["pixel_values"], load_pixels([record.image for record in chosen], model.config))
    for row, own in enumerate(examples):
        position = 0
        for number, example in enumerate(own, start=1):
            question = tokenizer.encode(example.instruction.question + "\n")
            answer = tokenizer.encode_answer(example.instruction.answer)
            end = position + len(question) + len(answer)
            assert batch.inputs["input_ids"][row, position:end].tolist() == question + answer
            assert batch.labels[row, position:end].tolist() == [IGNORED] * len(question) + answer
            assert set(batch.inputs["segments"][row, position:end].tolist()) == {number}
            weights = [0.0] * len(question) + [example.weight / len(answer)] * len(answer)
            assert batch.weights[row, position:end].tolist() == pytest.approx(weights)
            position = end
        assert not batch.inputs["segments"][row, position:].any() and not batch.weights[row, position:].any()
        assert set(batch.inputs["input_ids"][row, position:].tolist()) <= {tokenizer.pad_id}
        assert set(batch.labels[row, position:].tolist()) <= {IGNORED}


def test_soft_answers_are_located_in_the_question_and_not_in_the_domain():
    tokenizer, record = toy.tokenizer(), toy.scenes()[0]
    question = "This is a picture of the red disc. Find the red disc."
    asked = replace(toy.of_split("train")[0], task="rec_box", question=question, answer="[100, 100, 300, 300]")
    example = Example(asked, first=FirstLeg("What is it?", "the red disc"))
    batch = collate(toy.with_grammars(), [record.image], [[example]])
    assert batch.soft_answers is not None
    positions = batch.soft_answers.target[:, 1].tolist()
    words = tokenizer.encode(" the red disc")
    assert batch.inputs["input_ids"][0, positions].tolist() == words
    assert positions[0] == len(tokenizer.encode(question + "\n")) - len(tokenizer.encode(".\n")) - len(words)


def test_the_row_of_an_image_without_examples_is_padding():
    record = toy.scenes()[0]
    batch = collate(toy.with_grammars(), [record.image] * 2, [[Example(toy.instructions()[0])], []])
    assert not batch.inputs["segments"][1].any() and batch.inputs["input_ids"].shape[0] == 2
    assert batch.weights.sum(1).tolist() == pytest.approx(
        [1.0, 0.0]
    )  # an example's weight is 1 unless it says otherwise


def test_sampled_answers_keep_their_tokens_and_have_the_policy_loss():
    """The loss of a batch is the cross-entropy of true answers plus the policy loss of sampled ones."""
    model, tokenizer = toy.model(), toy.tokenizer()
    record = toy.records()[toy.of_split("train")[0].image_id]
    asked = [each for each in toy.of_split("train") if each.image_id == record.image_id and each.task == "rec_box"][:2]
    ids = (*tokenizer.encode_answer("[100, 100, 300, 300]"),)
    answer = Sampled(ids, 0.8, (-1.0,) * len(ids), (-2.0,) * len(ids))
    true, sampled = Example(asked[0], 2.0), Example(asked[1], 0.5, sampled=answer)

    def loss(*examples: Example) -> float:
        batch = collate(toy.with_grammars(model), [record.image], [list(examples)])
        with torch.no_grad():
            return float(
                model(
                    *batch.inputs.values(), batch.labels, batch.weights,
                    totals=torch.tensor([1.0, 1.0]), policy=batch.policy, kl=0.1, pointing_weight=3.0,
                ).loss
            )  # fmt: skip

    batch = collate(toy.with_grammars(model), [record.image], [[true, sampled]])
    assert batch.policy is not None
    assert tuple(batch.inputs["input_ids"][batch.policy.sampled & (batch.labels != IGNORED)].tolist()) == ids
    alone = collate(toy.with_grammars(model), [record.image], [[sampled]])
    with torch.no_grad():
        logits = model(**alone.inputs, labels=alone.labels).logits
    log_probs = logits.log_softmax(-1).gather(1, torch.tensor(ids).unsqueeze(1)).squeeze(1)
    known = Policy(torch.ones(len(ids)) > 0, *(torch.full((len(ids),), value) for value in (0.8, -1.0, -2.0)))
    expected = float(policy_losses(log_probs, known, 0.1).mean()) * 0.5  # no pointing: the box is not known to be true
    assert loss(sampled) == pytest.approx(expected, rel=1e-4)
    assert loss(true, sampled) == pytest.approx(loss(true) + expected, rel=1e-4)
