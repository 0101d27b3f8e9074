"""Patch features: the chosen layers, on one grid."""

from __future__ import annotations

import pytest
import torch
import toy
from transformers import Dinov2Config, Dinov2Model

from vilam.errors import VilamError
from vilam.models.backbones.features import merged, patch_features

DINOV2 = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 2, "image_size": 48, "patch_size": 8}


@pytest.fixture(scope="module")
def vision() -> Dinov2Model:
    torch.manual_seed(0)
    return Dinov2Model(Dinov2Config(**DINOV2)).eval()


def test_layers_are_concatenated_without_the_class_token(vision):
    pixels = toy.pixels(2)
    with torch.no_grad():
        found = patch_features(vision, pixels, [1, 3])
        states = vision(pixels, output_hidden_states=True).hidden_states
    assert found.shape == (2, 6, 6, 64)
    for index, layer in enumerate((1, 3)):
        patches = states[layer][:, 1:].view(2, 6, 6, 32)
        mean, deviation = patches.mean(-1, keepdim=True), patches.std(-1, keepdim=True, correction=0)
        expected = (patches - mean) / deviation
        torch.testing.assert_close(found[..., 32 * index :][..., :32], expected, atol=1e-3, rtol=1e-3)


def test_stages_of_a_convolution_are_resized_to_the_finest_grid():
    stages = {"hidden_sizes": [8, 16, 24], "depths": [1, 1, 1], "kernels": [3, 5, 3], "strides": [1, 2, 2]}
    own = {"vision__model_type": "efficientnet_lite", "vision__config": {**stages, "expansions": [1, 6, 6]}}
    model = toy.model(**own, vision__layers=[2, 3])
    pixels = toy.pixels(2)
    with torch.no_grad():
        found = patch_features(model.vision, pixels, [2, 3])
        states = model.vision(pixels).hidden_states
        assert model.encode_images(pixels).shape == (2, 144, 32)
    assert [tuple(state.shape[1:]) for state in states[1:]] == [(8, 24, 24), (16, 12, 12), (24, 6, 6)]
    assert found.shape == (2, 12, 12, 40)
    # the centre of a coarse patch is the corner of four fine ones, whose mean is about its feature
    coarse = torch.nn.functional.avg_pool2d(found[..., 16:].permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    normed = torch.nn.functional.layer_norm(states[3].permute(0, 2, 3, 1), (24,))
    weights = torch.tensor([1.0, 6.0, 1.0]) / 8  # bilinear at a quarter and three quarters, averaged
    inner = torch.nn.functional.conv2d(
        normed.permute(0, 3, 1, 2), (weights.outer(weights)).expand(24, 1, 3, 3), groups=24
    ).permute(0, 2, 3, 1)
    torch.testing.assert_close(coarse[:, 1:-1, 1:-1], inner, atol=1e-5, rtol=1e-4)


def test_the_last_layer_is_the_output_of_the_tower(vision):
    pixels = toy.pixels(1)
    with torch.no_grad():
        found, output = patch_features(vision, pixels, None), vision(pixels).last_hidden_state
    assert torch.equal(found.flatten(1, 2), output[:, 1:])


def test_a_missing_layer_is_refused(vision):
    with pytest.raises(ValueError, match="it has no layer 4: there are 3"):
        patch_features(vision, toy.pixels(1), [2, 4])


def test_merged_patches_are_those_of_their_square():
    """Each feature is its row and column."""
    features = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij"), dim=-1).unsqueeze(0)
    found = merged(features, 2)
    assert found.shape == (1, 2, 3, 8)
    assert found[0, 1, 2].tolist() == [2, 4, 2, 5, 3, 4, 3, 5]
    assert torch.equal(merged(features, 1), features)
    with pytest.raises(ValueError, match="its 4 x 6 patches cannot be merged 4 x 4"):
        merged(features, 4)


def test_a_model_with_layers_and_merged_patches_has_fewer_image_tokens():
    vision = {"checkpoint": None, "model_type": "dinov2", "config": DINOV2, "frozen": True, "layers": [1, 2]}
    model = toy.model(vision=vision, merge=2)
    with torch.no_grad():
        assert model.encode_images(toy.pixels(2)).shape == (2, 9, 32)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"vision__layers": [5]}, "model.image_size 48: does not fit model.vision: it has no layer 5: there are 3"),
        ({"merge": 4}, "does not fit model.vision: its 6 x 6 patches cannot be merged 4 x 4"),
        ({"merge": 2, "aligner": "qformer"}, "merge is for aligner mlp: qformer has num_queries tokens"),
    ],
)
def test_settings_that_do_not_fit_are_reported_in_one_line(changes, problem):
    own = {"vision__model_type": "dinov2", "vision__config": DINOV2, **changes}
    with pytest.raises(VilamError, match=problem):
        toy.model(**own)
