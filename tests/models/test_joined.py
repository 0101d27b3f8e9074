"""Models of parts: what cannot be joined is told in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toy

from vilam.errors import VilamError
from vilam.models import joined
from vilam.models.build import Trained, build_model, build_tokenizer, load_trained, save_trained


def part(model_type: str | None, config: dict[str, Any], checkpoint: str | None = None) -> dict[str, Any]:
    return {"checkpoint": checkpoint, "model_type": model_type, "config": config, "frozen": False}


SMALL = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2}
SEEN = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
GPT_NEO = {"num_layers": 2, "hidden_size": 32, "num_heads": 2, "attention_types": [[["global", "local"], 1]]}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"language": part("nonsense", {})}, "model.language: nonsense"),
        ({"language": part("llama", {"hidden_size": 33, "num_attention_heads": 2})}, "model.language: llama"),
        ({"language": part("vit", SMALL)}, "model: its parts"),
        ({"language": part("gpt_neo", GPT_NEO), "attention": "eager"}, "cannot pack"),
        ({"language": part("mamba", {"num_hidden_layers": 1, "hidden_size": 32}), "attention": "eager"}, "cannot pack"),
        ({"language": part("bloom", {"n_layer": 1, "hidden_size": 32, "n_head": 2}), "attention": "eager"}, "pack"),
        ({"vision": part("vilam_tower", {"hidden_sizes": [9], "strides": [1]})}, "model: its parts"),
        (
            {"vision": part(None, {}, "no/such/folder")},
            "no/such/folder: cannot be loaded: .*: put its config.json, .* into",
        ),
        (
            {"language": part(None, {}, "tests")},
            "model.language.checkpoint tests: cannot be loaded: .*: put its config.json",
        ),
        ({"vision": part(None, {}, "package:none")}, "model.vision.checkpoint package:none: .* choose of package:smol"),
        (
            {"vision": part("vit", {**SMALL, "image_size": 48, "patch_size": 9})},
            "model.image_size 48: the patches .* 9 px",
        ),
        (
            {"vision": part("vit", {**SMALL, "image_size": 96})},
            "model.image_size 48: does not fit model.vision: Input image",
        ),
    ],
)
def test_an_impossible_model_is_told_in_one_line(changes, told, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(VilamError, match=told) as caught:
        toy.model(**{"attention": "sdpa", **changes})
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_trained(Trained(toy.model(), toy.tokenizer(), toy.card(), {"stage": "train"}), folder)
    return folder


def test_checkpoints_give_their_weights(folder, tmp_path):
    """A language model and a tower that were saved by transformers are started from."""
    import torch

    source = load_trained(folder)
    source.model.language.save_pretrained(tmp_path / "language")
    source.tokenizer.tokenizer.save_pretrained(tmp_path / "language")
    source.model.vision.save_pretrained(tmp_path / "vision")
    (tmp_path / "vision" / "preprocessor_config.json").write_text(json.dumps(SEEN))
    started = toy.model(
        seed=9,
        language=part(None, {}, str(tmp_path / "language")),
        vision=part(None, {}, str(tmp_path / "vision")),
    )
    assert started.config.image_mean == SEEN["image_mean"] and started.config.image_std == SEEN["image_std"]
    assert started.config.first_token == toy.tokenizer().first_id and toy.model().config.first_token is None
    for name in ("language", "vision"):
        pretrained = getattr(source.model, name).state_dict()
        assert all(torch.equal(value, pretrained[key]) for key, value in getattr(started, name).state_dict().items())


def test_a_tokenizer_of_another_model_is_told(folder, tmp_path):
    load_trained(folder).model.language.save_pretrained(tmp_path)
    with pytest.raises(
        VilamError, match=r"model.language: its tokenizer has \d+ tokens, the model \d+: they do not match"
    ):
        build_model(toy.settings(model__language=part(None, {}, str(tmp_path))).model, toy.foreign("gpt2", "token"), 0)


@pytest.mark.parametrize("content", [None, {"image_mean": [0.5] * 3}])
def test_a_tower_must_tell_of_its_pixels(folder, tmp_path, content):
    load_trained(folder).model.vision.save_pretrained(tmp_path)
    if content:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    with pytest.raises(VilamError, match=r"model.vision.checkpoint .*preprocessor_config\.json") as caught:
        toy.model(vision=part(None, {}, str(tmp_path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("style", "form"), [("gpt2", "text"), ("gpt2", "token"), ("sentencepiece", "text")])
def test_tokenizers_that_spell_coordinates_are_taken(style, form, monkeypatch):
    monkeypatch.setattr(joined, "_load", lambda *_: toy.foreign_words(style))
    own = toy.settings(model__coordinates=form, model__language=part(None, {}, "some/model")).model
    tokenizer = build_tokenizer(own, [])
    for text in ("the red circle", "[10, 20, 30, 40] and then", "2 parts: [[0, 10]] and [[20, 30]]"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("form", ["text", "token"])
def test_one_that_loses_spaces_is_told(monkeypatch, form):
    monkeypatch.setattr(joined, "_load", lambda *_: toy.foreign_words("llama2"))
    own = toy.settings(model__coordinates=form, model__language=part(None, {}, "some/model")).model
    with pytest.raises(VilamError, match="loses spaces beside coordinates"):
        build_tokenizer(own, [])
