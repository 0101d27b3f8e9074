"""Cached features: the tower's own, each image computed once, and never another tower's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import toy

from vilam.errors import VilamError
from vilam.models.backbones.features import patch_features
from vilam.models.vilam.model import VilamForConditionalGeneration


@pytest.fixture
def model(tmp_path: Path) -> VilamForConditionalGeneration:
    """A model whose tower is frozen and whose features are cached."""
    model = toy.model(vision__frozen=True)
    model.keep_features(tmp_path)
    return model


@pytest.fixture
def computed(model: VilamForConditionalGeneration) -> list[int]:
    """The number of images in each call of the tower."""
    calls: list[int] = []
    model.vision.register_forward_pre_hook(lambda _, arguments: calls.append(len(arguments[0])))
    return calls


def prefix(model: VilamForConditionalGeneration, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.encode_images(pixels)


def test_cached_features_equal_the_tower_s(model):
    pixels = toy.pixels(3)
    plain = toy.model(vision__frozen=True)
    torch.testing.assert_close(prefix(model, pixels), prefix(plain, pixels), atol=5e-3, rtol=5e-3)


def test_each_image_is_computed_once_and_read_unchanged(model, computed, tmp_path):
    pixels = toy.pixels(3)
    first = prefix(model, pixels[:2])
    assert torch.equal(prefix(model, pixels[:2]), first)
    torch.testing.assert_close(prefix(model, pixels.flip(0))[1:].flip(0), first, atol=1e-6, rtol=1e-5)
    assert computed == [2, 1]
    assert len(list(tmp_path.glob("*/*/*.npy"))) == 3


def test_the_precision_of_the_run_does_not_matter(model):
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        fresh = model.feature_cache.features(toy.pixels(2), lambda pixels: patch_features(model.vision, pixels, None))
        kept = model.feature_cache.features(toy.pixels(2), lambda pixels: patch_features(model.vision, pixels, None))
    with torch.no_grad():
        exact = patch_features(model.vision, toy.pixels(2), None)
    assert torch.equal(fresh, exact.half().float()) and torch.equal(kept, fresh)


def test_a_tower_in_bfloat16_computes_in_bfloat16(model, tmp_path):
    model.cast_frozen(torch.bfloat16)
    model.keep_features(tmp_path)
    with torch.no_grad():
        kept = model.feature_cache.features(toy.pixels(2), lambda pixels: patch_features(model.vision, pixels, None))
        with torch.autocast("cpu", torch.bfloat16):
            expected = patch_features(model.vision, toy.pixels(2), None)
    assert torch.equal(kept, expected.half().float())
    assert {parameter.dtype for parameter in model.vision.parameters()} == {torch.bfloat16, torch.float32}
    assert all(parameter.dtype == torch.float32 for parameter in model.language.parameters())


def test_the_aligner_learns_from_cached_features(model):
    prefix_of = model.encode_images(toy.pixels(2))
    prefix_of.square().sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in model.aligner.parameters())


@pytest.mark.parametrize("changes", [{"seed": 1}, {"vision__config": {"hidden_sizes": [8, 16], "strides": [2, 1]}}])
def test_another_tower_has_its_own_folder(model, changes, tmp_path):
    other = toy.model(vision__frozen=True, **changes)
    other.keep_features(tmp_path)
    assert other.feature_cache != model.feature_cache
    assert toy.model(vision__frozen=True).feature_cache is None


def test_a_truncated_file_is_computed_again(model, computed, tmp_path):
    expected = prefix(model, toy.pixels(1))
    (file,) = tmp_path.glob("*/*/*.npy")
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(prefix(model, toy.pixels(1)), expected)
    assert torch.equal(prefix(model, toy.pixels(1)), expected) and computed == [1, 1]


def test_a_full_disk_is_reported_in_one_line_and_leaves_nothing(model, monkeypatch, tmp_path):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vilam.models.backbones.feature_cache.np.save", full)
    with pytest.raises(VilamError, match="No space left on device: free some space or set model"):
        prefix(model, toy.pixels(1))
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_features_of_a_trained_tower_are_refused():
    with pytest.raises(VilamError, match="cache keeps the features of a frozen tower"):
        toy.model(vision__cache=True)
