"""`activate` on a toy project (see tests/runs.py), and its errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import toy

from vilam.data.card import read_card
from vilam.errors import VilamError
from vilam.inference.resolve import resolve_model
from vilam.layout import Layout
from vilam.models.build import LoadedModel, load_model
from vilam.stages import activate
from vilam.training.checkpoint import Checkpoints


def test_the_model_is_that_of_the_settings(projects):
    trained = load_model(projects / "whole" / "models" / "activate")
    config = trained.network.config
    assert (config.text_config.hidden_size, config.text_config.num_hidden_layers) == (32, 2)
    assert config.coordinate_bins == 101 and config.image_size == toy.IMAGE_SIZE
    assert trained.info == {"stage": "activate"}
    metrics = json.loads((projects / "whole" / "metrics" / "activate.json").read_text())
    assert metrics["steps"] == 2 and metrics["images"] == 2 * toy.RUN["batch_size"]
    assert "val_rec_acc" not in metrics  # there are no questions of rec_box


def test_the_tokenizer_has_tokens_for_words_of_questions(projects):
    tokenizer = load_model(projects / "whole" / "models" / "activate").tokenizer
    for word in (" circle", " red", "Where"):
        assert len(tokenizer.encode(word)) == 1


def test_the_tokenizer_is_trained_on_questions_and_answers_of_train(tmp_path):
    found = list(activate.texts(Layout(toy.write_project(tmp_path))))
    assert found[:2] == [toy.of_split("train")[0].question, toy.of_split("train")[0].answer]
    assert len(found) == 2 * len(toy.of_split("train"))


@pytest.fixture
def start_of(monkeypatch):
    """Runs `activate` up to its training; returns the model that it starts from and the folder of checkpoints."""

    def call(settings, root) -> tuple[LoadedModel, Path]:
        arguments = []
        monkeypatch.setattr(activate, "train_stage", lambda *values: arguments.extend(values))
        activate.run(settings, root)
        found = [value for value in arguments if isinstance(value, LoadedModel | Checkpoints)]
        return found[0], found[1].folder

    return call


def test_fine_tuning_keeps_all_of_the_model_except_its_data_card(projects, tmp_path, start_of):
    root = toy.write_project(tmp_path)
    folder = projects / "whole" / "models" / "train"
    start, _ = start_of(
        toy.settings(model__fine_tune_from=str(folder), model__language__config={"hidden_size": 64}), root
    )
    before = load_model(folder)
    weights = before.network.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in start.network.state_dict().items())
    assert start.tokenizer.tokenizer.get_vocab() == before.tokenizer.tokenizer.get_vocab()
    assert start.card == read_card(root / "data" / "records") and start.seen == before.seen
    assert start.info == {"stage": "activate", "fine_tuned_from": resolve_model("", str(folder), root).version}


def test_checkpoints_of_another_starting_model_are_not_resumed(projects, tmp_path, start_of):
    root = toy.write_project(tmp_path)
    shutil.copytree(projects / "whole" / "models" / "activate", root / "model")
    settings = toy.settings(model__fine_tune_from="model")
    before = start_of(settings, root)[1].name.partition("-")[0]
    again = start_of(settings, root)[1].name  # with -2: another training with these settings has the folder
    assert again.partition("-")[0] == before
    shutil.copy(projects / "whole" / "models" / "train" / "model.safetensors", root / "model")
    assert start_of(settings, root)[1].name.partition("-")[0] != before


def test_a_model_that_cannot_be_fine_tuned_is_reported(projects, tmp_path):
    root = toy.write_project(tmp_path)
    with pytest.raises(VilamError, match=r"^model\.fine_tune_from nowhere: no model in .*nowhere: name a model folder"):
        activate.run(toy.settings(model__fine_tune_from="nowhere"), root)
    folder = str(projects / "hf-llava" / "models" / "train")
    with pytest.raises(
        VilamError, match=r"^model\.fine_tune_from .*hf-llava.*: train\.cycle\.mode soft is for a composed"
    ):
        activate.run(toy.settings(model__fine_tune_from=folder, train__cycle__mode="soft"), root)


def test_missing_data_is_reported_with_the_stage_to_run(tmp_path):
    with pytest.raises(VilamError, match="run prepare"):
        activate.run(toy.settings(), tmp_path)


def test_a_missing_deepspeed_file_is_reported(tmp_path, monkeypatch):
    from vilam.training import loop

    monkeypatch.setattr(loop, "start_distributed", lambda: "cpu")
    with pytest.raises(VilamError, match=r"none\.json: not found"):
        activate.run(toy.settings(activate__deepspeed="none.json"), toy.write_project(tmp_path))
