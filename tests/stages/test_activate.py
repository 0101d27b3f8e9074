"""Step 1 on a toy project (see tests/runs.py), and what it refuses."""

from __future__ import annotations

import json

import pytest
import toy

from vilam.errors import VilamError
from vilam.models.build import load_trained
from vilam.stages import activate


def test_it_writes_a_model_of_the_settings(projects):
    trained = load_trained(projects / "whole" / "models" / "activate")
    config = trained.model.config
    assert (config.text_config.hidden_size, config.text_config.num_hidden_layers) == (32, 2)
    assert config.coordinate_bins == 101 and config.image_size == toy.IMAGE_SIZE
    assert trained.info == {"stage": "activate"}
    metrics = json.loads((projects / "whole" / "metrics" / "activate.json").read_text())
    assert metrics["steps"] == 2 and metrics["images"] == 2 * toy.RUN["batch_size"]
    assert "val_rec_acc" not in metrics  # it has no questions of rec_box to be held to


def test_the_tokenizer_knows_the_words_of_the_questions(projects):
    tokenizer = load_trained(projects / "whole" / "models" / "activate").tokenizer
    for word in (" circle", " red", "Where"):
        assert len(tokenizer.encode(word)) == 1


def test_its_tokenizer_reads_questions_and_answers_of_the_training_split(tmp_path):
    found = list(activate.texts(toy.write_project(tmp_path)))
    assert found[:2] == [toy.of_split("train")[0].question, toy.of_split("train")[0].answer]
    assert len(found) == 2 * len(toy.of_split("train"))


def test_without_data_it_says_what_to_run(tmp_path):
    with pytest.raises(VilamError, match="run prepare"):
        activate.run(toy.settings(), tmp_path)


def test_without_deepspeeds_file_it_says_which(tmp_path, monkeypatch):
    from vilam.training import loop

    monkeypatch.setattr(loop, "start_distributed", lambda: "cpu")
    with pytest.raises(VilamError, match=r"none\.json: not found"):
        activate.run(toy.settings(activate__deepspeed="none.json"), toy.write_project(tmp_path))
