"""The model card: the origin of each part, and its trained weights."""

from __future__ import annotations

import json

import toy
import yaml

from vilam.models.build import LoadedModel, load_model, save_model
from vilam.models.card import model_card


def test_the_card_has_the_origin_and_the_trained_weights_of_each_part(tmp_path, monkeypatch):
    source = toy.model()
    for part, folder in (("vision", tmp_path / "vision"), ("language", tmp_path / "language")):
        getattr(source, part).save_pretrained(folder)
    statistics = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "vision" / "preprocessor_config.json").write_text(json.dumps(statistics))
    vision = {"checkpoint": str(tmp_path / "vision"), "model_type": None, "config": {}, "frozen": True}
    monkeypatch.setattr(
        "vilam.models.vilam.compose.provenance", lambda name: {"title": "Eyes", "package": "eyes==1", "sha256": "ab"}
    )
    model = toy.model(vision=vision)
    save_model(LoadedModel(model, toy.tokenizer(), toy.card(), {"stage": "train"}), tmp_path / "model")
    save_model(load_model(tmp_path / "model"), tmp_path / "again")
    text = (tmp_path / "again" / "README.md").read_text()
    assert text == (tmp_path / "model" / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["pipeline_tag"] == "image-text-to-text"
    table = [line.split("|")[1:-1] for line in body.splitlines() if line.startswith("|")]
    rows = {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in table}
    count = sum(each.numel() for each in model.vision.parameters())
    assert rows["vision"] == ["Eyes (eyes==1)", "", "ab", f"{count:,}", "0"]
    assert rows["language"][0] == "scratch" and rows["language"][3] == rows["language"][4]
    assert "Trained on scenes" in body and "Fine-tuned from" not in body


def test_the_card_names_the_model_that_was_fine_tuned():
    text = model_card(toy.model(), toy.card(), {"stage": "train", "fine_tuned_from": "models:/vilam/3"})
    assert "Fine-tuned from models:/vilam/3." in text.splitlines()
