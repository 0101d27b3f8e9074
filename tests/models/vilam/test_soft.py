"""Soft tokens: their values, and the gradient that passes through them to the first leg."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import toy
from torch import nn

from vilam.cycle.examples import Example, FirstLeg
from vilam.data.instructions import Instruction
from vilam.models.coordinate_formats import NUM_MARKS
from vilam.models.vilam.soft import SoftTokens, expected_coordinates, straight_through
from vilam.models.vilam.text import PackedText
from vilam.tasks import TASKS
from vilam.training.batching import Batch, collate

BINS = 101
WORDS = "the star on the left"


def test_a_word_keeps_its_value_and_gets_the_gradient_of_the_expectation():
    table = torch.randn(7, 4)
    logits = torch.randn(3, 7, requires_grad=True)
    tokens, weight = torch.tensor([2, 0, 5]), torch.randn(3, 4)
    soft = straight_through(logits, tokens, table)
    assert torch.allclose(soft, table[tokens], atol=1e-6)
    (gradient,) = torch.autograd.grad((soft * weight).sum(), logits)
    (expected,) = torch.autograd.grad((logits.softmax(-1) @ table * weight).sum(), logits)
    assert torch.allclose(gradient, expected, atol=1e-6) and gradient.abs().sum() > 0


def test_a_coordinate_is_the_expectation_over_its_own_axis():
    logits = torch.randn(4, NUM_MARKS + 2 * BINS)
    offsets = torch.tensor([NUM_MARKS + 3, NUM_MARKS + BINS + 3, NUM_MARKS + BINS - 1, NUM_MARKS + BINS])
    coordinates, axes = expected_coordinates(logits, offsets, BINS)
    assert axes.tolist() == [0, 1, 0, 1]
    for row, axis, coordinate in zip(logits, axes.tolist(), coordinates.tolist(), strict=True):
        own = row[NUM_MARKS + axis * BINS : NUM_MARKS + (axis + 1) * BINS].double().softmax(0)
        assert coordinate == pytest.approx(sum(p * i / (BINS - 1) for i, p in enumerate(own.tolist())), abs=1e-5)


def test_a_coordinate_on_a_bin_is_embedded_as_its_token():
    tokens = toy.model().coordinates
    bins, table = tokens.bins, tokens.table()
    values, axes = torch.linspace(0, 1, bins).repeat(2), torch.arange(2).repeat_interleave(bins)
    assert torch.allclose(tokens.embed_coordinates(values, axes), table[NUM_MARKS:], atol=1e-6)


def second_leg(leg: str, form: str = "token") -> tuple[Batch, Batch]:
    """The second leg of a cycle with its first leg, and the same without."""
    record = toy.of_split("train")[0].image_id
    image = toy.records()[record]
    region = image.regions[0]
    rec, reg = TASKS["rec_box"], TASKS["reg_caption"]
    box = rec.answer(image, region, None)
    about, find = reg.question(0, image, region, None), rec.templates[0].format(expression=WORDS)
    question, answer, first = (find, box, FirstLeg(about, WORDS))
    if leg == "rec_then_reg":
        question, answer, first = about, WORDS, FirstLeg(find, box)
    instruction = Instruction("id", leg, "train", record, region.region_id, question, answer, 0)
    cycled = Example(instruction, first=first)
    plain = Example(cycled.instruction)
    other = Example(toy.of_split("train")[1])
    model = toy.with_grammars(coordinates=form)
    soft, hard = (collate(model, [image.image], [[other, each, other]]) for each in (cycled, plain))
    return soft, hard


def loss(model: nn.Module, batch: Batch, **changes: Any) -> torch.Tensor:
    names = ("labels", "weights", "policy", "soft_answers")
    value: torch.Tensor = model(**batch.inputs, **{name: getattr(batch, name) for name in names} | changes).loss
    return value


@pytest.mark.parametrize("form", ["token", "text"])
def test_soft_words_give_the_same_loss_and_another_gradient(form):
    model = toy.model(coordinates=form)
    soft, hard = second_leg("reg_then_rec", form)
    tokenizer = toy.tokenizer(form)
    assert soft.soft_answers is not None and len(soft.soft_answers.target) == len(tokenizer.encode(f" {WORDS}"))
    rows, columns = soft.soft_answers.target.unbind(1)
    assert tokenizer.decode(soft.inputs["input_ids"][rows, columns].tolist()) == f" {WORDS}"
    values, gradients = [], []
    for batch in (soft, hard):
        model.zero_grad()
        value = loss(model, batch)
        value.backward()
        values.append(float(value.detach()))
        gradients.append(model.language.get_decoder().layers[0].mlp.up_proj.weight.grad.clone())
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert not torch.allclose(*gradients, rtol=1e-3)


def test_the_first_leg_learns_through_a_soft_box():
    """The gradient of the second leg's states reaches the coordinates of the first leg's answer."""
    model = toy.model()
    soft, hard = second_leg("rec_then_reg")
    assert soft.soft_answers is not None and len(soft.soft_answers.target) == 4  # the model does not choose the mark
    prefix = model.encode_images(soft.inputs["pixel_values"]).detach()
    tokens = model.soften(prefix, soft.soft_answers)
    assert tokens.coordinates.requires_grad and bool(((tokens.coordinates > 0) & (tokens.coordinates < 1)).all())
    hidden, _ = model.read(prefix, PackedText(soft.inputs["input_ids"], soft.inputs["segments"], tokens))
    (gradient,) = torch.autograd.grad(hidden.square().sum(), tokens.coordinates)
    assert gradient.abs().sum() > 0
    assert hard.soft_answers is None


def test_a_soft_box_on_the_bins_is_the_box_itself():
    """If the first leg is sure of its coordinates, soft and hard are the same, also the patches inside the box."""
    model = toy.model()
    soft, hard = second_leg("rec_then_reg")
    assert soft.soft_answers is not None
    prefix = model.encode_images(soft.inputs["pixel_values"])
    rows, columns = soft.soft_answers.target.unbind(1)
    offsets = soft.inputs["input_ids"][rows, columns] - model.config.first_coordinate - NUM_MARKS
    values, axes = offsets % BINS / (BINS - 1), offsets // BINS
    sure = SoftTokens(soft.soft_answers.target, model.coordinates.embed_coordinates(values, axes), values)
    with_soft, _ = model.read(prefix, PackedText(soft.inputs["input_ids"], soft.inputs["segments"], sure))
    without, _ = model.read(prefix, PackedText(hard.inputs["input_ids"], hard.inputs["segments"]))
    assert torch.allclose(with_soft, without, atol=1e-5)


def test_words_that_are_not_in_the_question_are_not_soft():
    image = toy.records()[toy.of_split("train")[0].image_id]
    example = Example(toy.of_split("train")[0], first=FirstLeg("What is it?", "something that nobody asked about"))
    assert collate(toy.with_grammars(), [image.image], [[example]]).soft_answers is None
