"""Boxes in text, the patches that they cover, and running means, each against a slow computation."""

from __future__ import annotations

import pytest
import torch
import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vilam.errors import VilamError
from vilam.models.vilam.grounder import Grounder, latest_boxes, patch_weights, running_means
from vilam.models.vilam.text import PackedText

BINS = 101
TEXTS = (
    "Where is the star?",
    "What is in [100, 200, 300, 400]?",
    "from [0, 0, 500, 1000] to [10, 20, 30, 40] and on",
    "points [[100, 200], [300, 400]] are no box",
    "[0, 10, 990, 1000]",
)


def packed(texts: list[str]) -> tuple[Tensor, Tensor, list[list[float] | None]]:
    """Token ids and segments (1, L) of concatenated texts, and the latest complete box at each token."""
    tokenizer = toy.tokenizer()
    first = tokenizer.first_coordinate
    ids: list[int] = []
    segments: list[int] = []
    boxes: list[list[float] | None] = []
    for number, text in enumerate(texts, start=1):
        own = tokenizer.encode(text)
        box = None
        for index, token in enumerate(own):
            if index >= 4 and own[index - 4] == first:
                box = [((coordinate - first - 3) % BINS) / 100 for coordinate in own[index - 3 : index + 1]]
            ids.append(token)
            segments.append(number)
            boxes.append(box)
    return torch.tensor([ids]), torch.tensor([segments]), boxes


@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_the_latest_complete_box_of_each_token(texts):
    ids, segments, expected = packed(texts)
    boxes, known = latest_boxes(PackedText(ids, segments), toy.tokenizer().first_coordinate, BINS)
    assert known[0].tolist() == [box is not None for box in expected]
    for box, found in zip(expected, boxes[0].tolist(), strict=True):
        assert box is None or found == pytest.approx(box)


def test_coordinates_that_no_grammar_allows_are_no_box():
    first = toy.tokenizer().first_coordinate
    x, y = first + 3, first + 3 + BINS
    for ids in ([first, y, x, y, x], [x, y, x, y, x], [first, x, y, x, 5], [first, x, y, x]):
        text = PackedText(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))
        _, known = latest_boxes(text, first, BINS)
        assert not known.any(), ids


def test_patches_inside_a_box_have_equal_weights():
    weights = patch_weights(torch.tensor([0.0, 0.0, 0.5, 1.0]), 16).view(4, 4)  # the left half
    torch.testing.assert_close(weights[:, :2], torch.full((4, 2), 1 / 8), atol=0.03, rtol=0)
    assert float(weights[:, 2:].sum()) < 0.2
    assert float(weights.sum()) == pytest.approx(1.0)


def test_a_box_between_centres_belongs_to_the_nearest_patch():
    weights = patch_weights(torch.tensor([[0.26, 0.76, 0.3, 0.8]]), 16)
    assert int(weights.argmax()) == 3 * 4 + 1


@given(
    st.tuples(*[st.floats(0, 1)] * 4),
    st.sampled_from([4, 16, 64]),
)
@settings(max_examples=50, deadline=None)
def test_patch_weights_are_transposed_with_the_image(box, patches):
    x1, y1, x2, y2 = min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])
    side = round(patches**0.5)
    weights = patch_weights(torch.tensor([x1, y1, x2, y2]), patches).view(side, side)
    turned = patch_weights(torch.tensor([y1, x1, y2, x2]), patches).view(side, side)
    mirrored = patch_weights(torch.tensor([1 - x2, y1, 1 - x1, y2]), patches).view(side, side)
    torch.testing.assert_close(turned, weights.T, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mirrored, weights.flip(1), atol=1e-5, rtol=1e-4)


def test_running_means_are_means_of_what_was_counted():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 12, 3, generator=generator)
    counted = torch.rand(2, 12, generator=generator) > 0.4
    segments = torch.tensor([[1, 1, 1, 2, 2, 2, 2, 3, 3, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]])
    found = running_means(values, counted, segments)
    for row in range(2):
        for end in range(12):
            own = [i for i in range(end + 1) if segments[row, i] == segments[row, end] and counted[row, i]]
            expected = values[row, own].mean(0) if own else torch.zeros(3)
            torch.testing.assert_close(found[row, end], expected, atol=1e-5, rtol=1e-4)


def test_the_image_token_at_which_a_state_points_is_added():
    """If all of the pointing is on one patch, the hidden state gains that patch's token."""
    grounder = Grounder(8)
    prefix, hidden = torch.randn(1, 4, 8), torch.randn(1, 2, 8)
    pointed = torch.full((1, 2, 4), -1e9)
    pointed[..., 2] = 0.0
    torch.testing.assert_close(grounder.attend(hidden, pointed, prefix), hidden + prefix[:, 2:3], atol=1e-5, rtol=1e-5)


def test_beside_a_pretrained_model_words_and_coordinates_have_states_of_their_own():
    """The first is unchanged until its matrix is trained; the second is of size 1, plus the image token."""
    torch.manual_seed(0)
    grounder, hidden, image = Grounder(8, pretrained=True), 5 * torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    pointed = torch.full((2, 3, 4), -torch.inf)
    pointed[..., 2] = 0.0
    inside, known = torch.randn(2, 3, 8), torch.tensor([[[False], [True], [True]], [[True], [False], [False]]])
    words, coordinates = grounder.attend_twice(hidden, pointed, image, inside, known).chunk(2, dim=-1)
    size = hidden.square().mean(-1, keepdim=True).sqrt()
    assert torch.equal(words, hidden)
    torch.testing.assert_close(coordinates, hidden / size + image[:, 2:3], atol=1e-5, rtol=1e-5)
    words.sum().backward()
    assert grounder.words_out.weight.grad.abs().sum() > 0 and not grounder.out.weight.grad.any()
    with torch.no_grad():
        torch.nn.init.eye_(grounder.words_out.weight)
        words = grounder.attend_twice(hidden, pointed, image, inside, known)[..., :8]
    seen = [[image[0, 2], inside[0, 1], inside[0, 2]], [inside[1, 0], image[1, 2], image[1, 2]]]
    torch.testing.assert_close(words, hidden + torch.stack([torch.stack(row) for row in seen]), atol=1e-5, rtol=1e-5)


def test_pointing_follows_the_patches_in_another_order():
    grounder = Grounder(8)
    prefix, hidden, words = torch.randn(1, 4, 8), torch.randn(1, 2, 8), torch.randn(1, 2, 8)
    order = torch.tensor([2, 0, 3, 1])
    pointed = grounder.point(hidden, words, grounder.keys(prefix))
    torch.testing.assert_close(grounder.point(hidden, words, grounder.keys(prefix[:, order])), pointed[..., order])
    torch.testing.assert_close(pointed.exp().sum(-1), torch.ones(1, 2))


@pytest.mark.parametrize("changes", [{"aligner": "qformer"}, {"coordinates": "text"}])
def test_a_grounder_needs_patches_and_coordinate_tokens(changes):
    with pytest.raises(VilamError, match=r"set model\.grounder to false"):
        toy.model(grounder=True, **changes)
