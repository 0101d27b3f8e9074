"""The learning rate, DeepSpeed's settings and the weights that decay."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from vilam.errors import VilamError
from vilam.training.engine import check_config, deepspeed_config, learning_rate, parameter_groups


def settings(**changes: Any) -> Any:
    return toy.settings(**{f"train__{name}": value for name, value in changes.items()}).train


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine():
    own = settings(steps=100, warmup_steps=10, learning_rate=2e-3, final_learning_rate=2e-4)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([weight], lr=own.learning_rate)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, learning_rate(own))
    for step in range(101):
        if step < 10:
            expected = 2e-3 * (step + 1) / 10
        else:
            expected = 2e-4 + (2e-3 - 2e-4) * (1 + math.cos(math.pi * (step - 10) / 90)) / 2
        assert optimiser.param_groups[0]["lr"] == pytest.approx(expected)
        optimiser.step()
        scheduler.step()


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (5, 0), (3, 3), (2, 2)])
def test_the_learning_rate_of_short_runs_is_positive(steps, warmup):
    own = settings(steps=steps, warmup_steps=warmup)
    assert all(0 < learning_rate(own)(step) <= 1 for step in range(steps + 1))


def test_settings_fill_in_the_deepspeed_config(tmp_path, monkeypatch):
    (tmp_path / "mine.json").write_text(json.dumps({"zero_optimization": {"stage": 2}}))
    monkeypatch.setenv("WORLD_SIZE", "2")
    config = deepspeed_config(settings(deepspeed="mine.json", batch_size=6, max_grad_norm=0.5), tmp_path)
    assert config["train_micro_batch_size_per_gpu"] == 3 and config["gradient_accumulation_steps"] == 1
    assert config["gradient_clipping"] == 0.5 and config["zero_optimization"] == {"stage": 2}
    assert "torch_autocast" not in config and "bf16" not in config
    config = deepspeed_config(settings(deepspeed="mine.json", precision="bf16"), tmp_path)
    assert config["torch_autocast"] == {"enabled": True, "dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("content", "world", "message"),
    [
        (None, 1, "not found"),
        ("{", 1, "not readable as JSON"),
        ("[1]", 1, r"mine\.json: no names and values: set deepspeed to a file of configs/deepspeed"),
        ("{}", 3, "does not divide over 3"),
    ],
)
def test_impossible_settings_are_reported_in_one_line(tmp_path, monkeypatch, content, world, message):
    monkeypatch.setenv("WORLD_SIZE", str(world))
    if content is not None:
        (tmp_path / "mine.json").write_text(content)
    with pytest.raises(VilamError, match=message) as caught:
        deepspeed_config(settings(deepspeed="mine.json"), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_of_deepspeed_files_is_reported():
    with pytest.raises(VilamError, match=r"configs/deepspeed: Is a directory: set deepspeed to a file of"):
        deepspeed_config(settings(deepspeed="configs/deepspeed"), toy.PROJECT)


def test_a_config_that_deepspeed_refuses_is_reported_in_one_line():
    config = {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1}
    check_config({**config, "zero_optimization": {"stage": 2}}, Path("mine.json"))
    with pytest.raises(VilamError, match=r"mine\.json: DeepSpeed refuses it: .*stage.*: correct the file") as caught:
        check_config({**config, "zero_optimization": {"stage": 7}}, Path("mine.json"))
    assert "\n" not in str(caught.value)


def test_each_deepspeed_file_has_the_zero_stage_of_its_name():
    for stage in range(4):
        config = deepspeed_config(settings(deepspeed=f"configs/deepspeed/zero{stage}.json"), toy.PROJECT)
        assert config["zero_optimization"]["stage"] == stage


def test_matrices_decay_and_frozen_weights_are_left_out():
    model = toy.model(freeze_aligner=True)
    decayed, others = parameter_groups(model, 0.1)
    trained = [weight for name, weight in model.named_parameters() if not name.startswith("aligner.")]
    assert decayed["weight_decay"] == 0.1 and others["weight_decay"] == 0.0
    assert {id(p) for p in decayed["params"] + others["params"]} == {id(p) for p in trained}
    assert all(p.dim() > 1 for p in decayed["params"]) and all(p.dim() <= 1 for p in others["params"])
