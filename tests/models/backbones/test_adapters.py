"""Adapters: only they are trained in a language model, they change nothing at first, and they are saved with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import toy

from vilam.errors import VilamError
from vilam.models.build import LoadedModel, load_model, save_model
from vilam.models.vilam.model import VilamForConditionalGeneration

LORA = {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": ["q_proj", "v_proj"]}


def model(**changes: Any) -> VilamForConditionalGeneration:
    return toy.model(language__frozen=True, language__lora={**LORA, **changes}, vision__frozen=True)


def logits(adapted: VilamForConditionalGeneration) -> torch.Tensor:
    ids = torch.tensor([toy.tokenizer().encode("What is in [10, 20, 300, 400]? the red circle")])
    with torch.no_grad():
        return adapted(toy.pixels(1), ids, torch.ones_like(ids)).logits


def train(adapted: VilamForConditionalGeneration, steps: int = 3) -> None:
    adapted.train()
    optimiser = torch.optim.AdamW([each for each in adapted.parameters() if each.requires_grad], lr=0.05)
    ids = torch.tensor([toy.tokenizer().encode("What is in [10, 20, 300, 400]? the red circle")])
    for _ in range(steps):
        adapted(toy.pixels(1), ids, torch.ones_like(ids), ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    adapted.eval()


def test_new_adapters_change_nothing():
    torch.testing.assert_close(logits(model()), logits(toy.model()), atol=1e-6, rtol=1e-5)


def test_only_the_adapters_of_the_language_model_are_trained():
    adapted = model()
    before = {name: value.clone() for name, value in adapted.state_dict().items()}
    train(adapted)
    changed = {name for name, value in adapted.state_dict().items() if not torch.equal(value, before[name])}
    of_language = {name for name in changed if name.startswith("language.")}
    assert of_language == {name for name in before if "lora_" in name} and len(of_language) == 8  # 2 layers, q and v
    assert not any(name.startswith("vision.") for name in changed)
    assert {"aligner", "coordinates", "grounder"} <= {name.partition(".")[0] for name in changed}


def test_a_saved_model_has_its_adapters(tmp_path):
    adapted = model()
    train(adapted)
    save_model(LoadedModel(adapted, toy.tokenizer(), toy.card(), {"stage": "train"}), tmp_path / "model")
    opened = load_model(tmp_path / "model").network
    assert torch.equal(logits(opened), logits(adapted))
    trained = [{name for name, each in one.named_parameters() if each.requires_grad} for one in (adapted, opened)]
    assert trained[0] == trained[1]


def test_frozen_parts_stay_in_evaluation_mode_and_adapters_do_not():
    adapted = model(dropout=0.5).train()
    modes = {name: module.training for name, module in adapted.named_modules()}
    assert not modes["vision"] and not modes["language"] and modes["aligner"]
    dropouts = {training for name, training in modes.items() if name.endswith("lora_dropout.default")}
    assert dropouts == {True}
    assert not any(module.training for module in adapted.eval().modules())


def test_targets_that_match_no_layer_are_refused():
    with pytest.raises(VilamError, match=r"model.language.lora: .*query_proj") as caught:
        model(targets=["query_proj"])
    assert "\n" not in str(caught.value)


def test_adapters_need_a_frozen_language_model():
    with pytest.raises(VilamError, match="lora trains beside frozen layers: set frozen to true"):
        toy.model(language__lora=LORA)
