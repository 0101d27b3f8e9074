"""Soft tokens: what they are worth, and that the gradient passes through them to the first leg."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import toy
from torch import nn

from vilam.models.coordinates import NUM_MARKS
from vilam.models.soft import Softened, expected_places, straight_through
from vilam.tasks import TASKS
from vilam.training.batching import Batch, collate
from vilam.training.sampling import Example, FirstLeg

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


def test_a_place_is_the_expectation_over_its_own_axis():
    logits = torch.randn(4, NUM_MARKS + 2 * BINS)
    offsets = torch.tensor([NUM_MARKS + 3, NUM_MARKS + BINS + 3, NUM_MARKS + BINS - 1, NUM_MARKS + BINS])
    places, axes = expected_places(logits, offsets, BINS)
    assert axes.tolist() == [0, 1, 0, 1]
    for row, axis, place in zip(logits, axes.tolist(), places.tolist(), strict=True):
        own = row[NUM_MARKS + axis * BINS : NUM_MARKS + (axis + 1) * BINS].double().softmax(0)
        assert place == pytest.approx(sum(p * i / (BINS - 1) for i, p in enumerate(own.tolist())), abs=1e-5)


def test_a_place_on_a_bin_is_embedded_as_its_token():
    coordinates = toy.model().coordinates
    bins, table = coordinates.bins, coordinates.table()
    places, axes = torch.linspace(0, 1, bins).repeat(2), torch.arange(2).repeat_interleave(bins)
    assert torch.allclose(coordinates.embed_places(places, axes), table[NUM_MARKS:], atol=1e-6)


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
    asked = toy.of_split("train")[0]
    made = Example(type(asked)("id", leg, "train", record, region.region_id, question, answer, 0), first=first)
    plain = Example(made.instruction)
    tokenizer, model = toy.tokenizer(form), toy.model(coordinates=form)
    other = Example(toy.of_split("train")[1])
    both = (collate([image.image], [[other, each, other]], tokenizer, model) for each in (made, plain))
    soft, hard = both
    return soft, hard


def loss(model: nn.Module, batch: Batch, **changes: Any) -> torch.Tensor:
    names = ("labels", "weights", "policy", "middle")
    value: torch.Tensor = model(**batch.inputs, **{name: getattr(batch, name) for name in names} | changes).loss
    return value


@pytest.mark.parametrize("form", ["token", "text"])
def test_soft_words_give_the_same_loss_and_another_gradient(form):
    model = toy.model(coordinates=form)
    soft, hard = second_leg("reg_then_rec", form)
    tokenizer = toy.tokenizer(form)
    assert soft.middle is not None and len(soft.middle.target) == len(tokenizer.encode(f" {WORDS}"))
    rows, columns = soft.middle.target.unbind(1)
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
    """Moving the answer of the first leg moves the loss of the second, and only through the middle."""
    model = toy.model()
    soft, hard = second_leg("rec_then_reg")
    assert soft.middle is not None and len(soft.middle.target) == 4  # the mark is no choice
    prefix = model.encode_images(soft.inputs["pixel_values"]).detach()
    softened = model.soften(prefix, soft.middle)
    assert softened.places.requires_grad and bool(((softened.places > 0) & (softened.places < 1)).all())
    hidden, _ = model.run(prefix, soft.inputs["input_ids"], soft.inputs["segments"], softened)
    (gradient,) = torch.autograd.grad(hidden.square().sum(), softened.places)
    assert gradient.abs().sum() > 0
    assert hard.middle is None


def test_a_soft_box_on_the_bins_is_the_box_itself():
    """Where the first leg is sure of its places, soft and hard are the same, to the patches inside of the box."""
    model = toy.model()
    soft, hard = second_leg("rec_then_reg")
    assert soft.middle is not None
    prefix = model.encode_images(soft.inputs["pixel_values"])
    rows, columns = soft.middle.target.unbind(1)
    offsets = soft.inputs["input_ids"][rows, columns] - model.config.first_coordinate - NUM_MARKS
    places, axes = offsets % BINS / (BINS - 1), offsets // BINS
    sure = Softened(soft.middle.target, model.coordinates.embed_places(places, axes), places)
    with_soft, _ = model.run(prefix, soft.inputs["input_ids"], soft.inputs["segments"], sure)
    without, _ = model.run(prefix, hard.inputs["input_ids"], hard.inputs["segments"])
    assert torch.allclose(with_soft, without, atol=1e-5)


def test_words_that_do_not_stand_in_the_question_are_left_hard():
    image = toy.records()[toy.of_split("train")[0].image_id]
    made = Example(toy.of_split("train")[0], first=FirstLeg("What is it?", "something that nobody asked about"))
    assert collate([image.image], [[made]], toy.tokenizer(), toy.model()).middle is None
