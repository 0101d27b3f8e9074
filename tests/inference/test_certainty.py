"""Certainty of a box: its confidence times the least probable token of the expression as a description of the box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from PIL import Image

from vilam.commands import predict as command
from vilam.data.records import ImageRecord
from vilam.inference.certainty import Located, certainties
from vilam.inference.predictor import Predictor
from vilam.models.build import LoadedModel, load_model, save_model
from vilam.models.interface import Turn

IMAGE = Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 50).convert("RGB")


def predictor(threshold: float | None) -> Predictor:
    info: dict[str, Any] = {} if threshold is None else {"certainty": {"threshold": threshold}}
    return Predictor(LoadedModel(toy.model(), toy.tokenizer(), toy.card(), info))


def by_hand(asked: Predictor, expression: str, box: tuple[float, ...]) -> float:
    """The least probability of the expression's tokens, one forward pass for each token."""
    tokenizer, network = asked.model.tokenizer, asked.model.network
    numbers = [round(side * 1000 / size) for side, size in zip(box, (96, 64, 96, 64), strict=True)]
    question, ids = f"What is described in {numbers}?", tokenizer.encode_answer(expression)
    probabilities = []
    for end in range(len(ids)):
        packed = network.pack(tokenizer, network.preprocess([IMAGE]), [[Turn(question, tuple(ids[: end + 1]))]])
        with torch.no_grad():
            logits = network(**packed.inputs, labels=packed.labels).logits[-1].reshape(-1)
        probabilities.append(float(torch.softmax(logits.double(), 0)[ids[end]]))
    return min(probabilities)


def test_it_is_the_confidence_times_the_least_probable_token():
    asked = predictor(None)
    record = ImageRecord("", "", b"", 96, 64, "", "")
    boxes = [(9.6, 6.4, 48.0, 32.0), (0.0, 0.0, 96.0, 64.0)]
    found = [Located(0, record, "the red circle", box, 0.5) for box in boxes]
    measured = certainties(asked.model, asked.model.network.preprocess([IMAGE]), found)
    assert measured == pytest.approx([0.5 * by_hand(asked, "the red circle", box) for box in boxes], rel=1e-4)


def test_the_threshold_that_is_kept_with_the_model_decides():
    assert predictor(None).locate(IMAGE, "the red circle").uncertain is None
    assert predictor(0.0).locate(IMAGE, "the red circle").as_dict()["uncertain"] is False
    assert predictor(1.0).locate(IMAGE, "the red circle").as_dict()["uncertain"] is True
    assert predictor(1.0).segment(IMAGE, "the red circle").uncertain is None
    assert predictor(0.0).locate(IMAGE, "in [1, 2, 3, 4]").uncertain is False  # text that looks like a box


def test_a_saved_model_keeps_it_and_the_command_says_it(tmp_path: Path, capsys, monkeypatch):
    info = {"certainty": {"threshold": 1.0}}
    save_model(LoadedModel(toy.model(), toy.tokenizer(), toy.card(), info), tmp_path / "model")
    assert load_model(tmp_path / "model").info == info
    capsys.readouterr()  # what other libraries print while they save
    labels = []
    draw = command.draw
    monkeypatch.setattr(command, "draw", lambda *args, **rest: labels.append(args[2]) or draw(*args, **rest))
    IMAGE.save(tmp_path / "scene.png")
    command.predict(
        str(tmp_path / "model"), tmp_path / "scene.png", "locate", "the star", None, tmp_path / "answer.png"
    )
    assert json.loads(capsys.readouterr().out)["uncertain"] is True
    assert labels[0].startswith("the star 0.") and labels[0].endswith(", uncertain")
