"""Examples to tensors."""

from __future__ import annotations

import pytest
import torch
import toy

from vilam.models.images import load_pixels
from vilam.training.batching import IGNORED, collate
from vilam.training.sampling import Example


def test_instructions_stand_one_after_the_other_with_their_answers_labelled():
    tokenizer, model = toy.tokenizer(), toy.model()
    chosen = toy.scenes()[:2]
    examples = [
        [Example(each, 0.5 * (1 + i)) for i, each in enumerate(toy.instructions()) if each.image_id == record.image_id]
        for record in chosen
    ]
    examples = [examples[0][:5], examples[1][:2]]
    batch = collate([record.image for record in chosen], examples, tokenizer, model.config)
    assert torch.equal(batch.pixel_values, load_pixels([record.image for record in chosen], model.config))
    for row, own in enumerate(examples):
        place = 0
        for number, example in enumerate(own, start=1):
            question = tokenizer.encode(example.instruction.question + "\n")
            answer = tokenizer.encode_answer(example.instruction.answer)
            end = place + len(question) + len(answer)
            assert batch.input_ids[row, place:end].tolist() == question + answer
            assert batch.labels[row, place:end].tolist() == [IGNORED] * len(question) + answer
            assert set(batch.segments[row, place:end].tolist()) == {number}
            shares = [0.0] * len(question) + [example.weight / len(answer)] * len(answer)
            assert batch.weights[row, place:end].tolist() == pytest.approx(shares)
            place = end
        assert not batch.segments[row, place:].any() and not batch.weights[row, place:].any()
        assert set(batch.input_ids[row, place:].tolist()) <= {tokenizer.pad_id}
        assert set(batch.labels[row, place:].tolist()) <= {IGNORED}


def test_an_image_without_examples_is_all_padding():
    record = toy.scenes()[0]
    batch = collate([record.image] * 2, [[Example(toy.instructions()[0])], []], toy.tokenizer(), toy.model().config)
    assert not batch.segments[1].any() and batch.input_ids.shape[0] == 2
