"""Models composed of parts: parts that do not fit are reported in one line, and checkpoints give their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toy

from vilam.errors import VilamError
from vilam.models.build import LoadedModel, build_model, build_tokenizer, load_model, save_model
from vilam.models.vilam import compose


def part(model_type: str | None, config: dict[str, Any], checkpoint: str | None = None) -> dict[str, Any]:
    return {"checkpoint": checkpoint, "model_type": model_type, "config": config, "frozen": False}


SMALL = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2}
STATISTICS = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
GPT_NEO = {"num_layers": 2, "hidden_size": 32, "num_heads": 2, "attention_types": [[["global", "local"], 1]]}


@pytest.mark.parametrize(
    "part_config",
    [
        ("language", "llama", {**toy.LLAMA, "rope_theta": 5000.0, "tie_word_embeddings": True}),
        (
            "language",
            "gpt2",
            {"n_layer": 1, "hidden_size": 32, "num_attention_heads": 2, "max_position_embeddings": 512},
        ),
        (
            "vision",
            "vit",
            {**SMALL, "intermediate_size": 32, "image_size": 48, "patch_size": 16, "hidden_dropout_prob": 0},
        ),
    ],
)
def test_settings_under_any_name_that_transformers_reads_are_known(part_config):
    name, kind, config = part_config
    made = toy.settings(**{f"model__{name}": part(kind, config), "model__attention": "eager"}).model
    assert build_model(made, build_tokenizer(made, ["a word"] * 9), 0) is not None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"language": part("nonsense", {})}, "model.language: nonsense"),
        ({"language": part("llama", {"hidden_size": 33, "num_attention_heads": 2})}, "model.language: llama"),
        ({"language": part("vit", SMALL)}, "model: its parts"),
        ({"language": part("gpt_neo", GPT_NEO), "attention": "eager"}, "cannot pack"),
        ({"language": part("mamba", {"num_hidden_layers": 1, "hidden_size": 32}), "attention": "eager"}, "cannot pack"),
        ({"language": part("bloom", {"n_layer": 1, "hidden_size": 32, "n_head": 2}), "attention": "eager"}, "pack"),
        (
            {"language": part("llama", {**toy.LLAMA, "num_attention_heads": 4, "num_key_value_heads": 3})},
            "model.language: the sizes of llama do not fit each other: ",
        ),
        (
            {"language": part("llama", {**toy.LLAMA, "hiden_size": 32})},
            "model.language.config.hiden_size: llama has no such setting: check its spelling",
        ),
        (
            {"vision": part("vilam_tower", {"hidden_size": [8]})},
            "model.vision.config.hidden_size: vilam_tower has no such setting: check its spelling",
        ),
        ({"vision": part("vilam_tower", {"hidden_sizes": [9], "strides": [1]})}, "model: its parts"),
        (
            {"vision": part(None, {}, "no/such/folder")},
            "no/such/folder: cannot be loaded: .*: put its config.json, .* into",
        ),
        (
            {"language": part(None, {}, "tests")},
            "model.language.checkpoint tests: cannot be loaded: .*: put its config.json",
        ),
        (
            {"vision": part(None, {}, "package:none")},
            "model.vision.checkpoint package:none: .* choose one of package:smol",
        ),
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
def test_an_impossible_model_is_reported_in_one_line(changes, problem, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(VilamError, match=problem) as caught:
        toy.model(**{"attention": "sdpa", **changes})
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_model(LoadedModel(toy.model(), toy.tokenizer(), toy.card(), {"stage": "train"}), folder)
    return folder


def test_checkpoints_give_their_weights(folder, tmp_path):
    """A model starts from a language model and a tower that transformers saved."""
    import torch

    source = load_model(folder)
    source.network.language.save_pretrained(tmp_path / "language")
    source.tokenizer.tokenizer.save_pretrained(tmp_path / "language")
    source.network.vision.save_pretrained(tmp_path / "vision")
    (tmp_path / "vision" / "preprocessor_config.json").write_text(json.dumps(STATISTICS))
    started = toy.model(
        seed=9,
        language=part(None, {}, str(tmp_path / "language")),
        vision=part(None, {}, str(tmp_path / "vision")),
    )
    assert started.config.image_mean == STATISTICS["image_mean"] and started.config.image_std == STATISTICS["image_std"]
    assert started.config.first_token == toy.tokenizer().first_id and toy.model().config.first_token is None
    for name in ("language", "vision"):
        pretrained = getattr(source.network, name).state_dict()
        assert all(torch.equal(value, pretrained[key]) for key, value in getattr(started, name).state_dict().items())


def test_a_tokenizer_of_another_model_is_refused(folder, tmp_path):
    load_model(folder).network.language.save_pretrained(tmp_path)
    with pytest.raises(
        VilamError, match=r"model.language: its tokenizer has \d+ tokens, the model \d+: they do not match"
    ):
        build_model(
            toy.settings(model__language=part(None, {}, str(tmp_path))).model,
            toy.pretrained_tokenizer("gpt2", "token"),
            0,
        )


@pytest.mark.parametrize("content", [None, {"image_mean": [0.5] * 3}])
def test_a_tower_needs_pixel_statistics(folder, tmp_path, content):
    load_model(folder).network.vision.save_pretrained(tmp_path)
    if content:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    with pytest.raises(VilamError, match=r"model.vision.checkpoint .*preprocessor_config\.json") as caught:
        toy.model(vision=part(None, {}, str(tmp_path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("style", "form"), [("gpt2", "text"), ("gpt2", "token"), ("sentencepiece", "text")])
def test_tokenizers_that_keep_spaces_are_accepted(style, form, monkeypatch):
    monkeypatch.setattr(compose, "_load", lambda *_: toy.hf_tokenizer(style))
    own = toy.settings(model__coordinates=form, model__language=part(None, {}, "some/model")).model
    tokenizer = build_tokenizer(own, [])
    for text in ("the red circle", "[10, 20, 30, 40] and then", "2 parts: [[0, 10]] and [[20, 30]]"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("form", ["text", "token"])
def test_a_tokenizer_that_loses_spaces_is_refused(monkeypatch, form):
    monkeypatch.setattr(compose, "_load", lambda *_: toy.hf_tokenizer("llama2"))
    own = toy.settings(model__coordinates=form, model__language=part(None, {}, "some/model")).model
    with pytest.raises(VilamError, match="loses spaces beside coordinates"):
        build_tokenizer(own, [])
