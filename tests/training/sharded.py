"""Two processes that hold a part of each weight (ZeRO-3) answer questions of their own; tests/runs.py starts them."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import toy

from vilam.cycle.examples import Example
from vilam.inference.generate import Answer, Request, generate
from vilam.inference.model import Model
from vilam.launch import rank
from vilam.models.interface import GroundingModel
from vilam.training.batching import collate
from vilam.training.engine import start_distributed, start_engine

FILES = {
    "sharded.json": {"zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0}},
    "whole.json": {"zero_optimization": {"stage": 0}},
}
"""Without a threshold, small weights such as the toy's are never divided."""


def answer() -> None:
    """Writes ``RANK.json`` into the working folder: answers, losses and weights of the model beside a whole one."""
    for name, content in FILES.items():
        Path(name).write_text(json.dumps({**content, "zero_allow_untested_optimizer": True}))
    start_distributed()
    model = toy.with_few_words()
    with torch.no_grad():
        model.network.language.model.embed_tokens.weight.mul_(8)  # other questions, other answers
    whole = copy.deepcopy(model.network)
    found, wanted = (
        _measured(model, network, name) for name, network in zip(FILES, (model.network, whole), strict=True)
    )
    Path(f"{rank()}.json").write_text(json.dumps({"sharded": found, "whole": wanted}))


def _measured(model: Model, network: GroundingModel, config: str) -> dict[str, Any]:
    settings = toy.settings(train__batch_size=2, train__precision="fp32", train__deepspeed=config).train
    records = list(toy.records().values())[:2]
    files = [record.image for record in records]
    examples = [[Example(one) for one in toy.instructions() if one.image_id == each.image_id][:4] for each in records]
    batch, images = collate(model, files, examples), network.preprocess(files)
    engine, plain = start_engine(network, settings, Path())
    losses, answers, held = [], [], []
    for _ in range(2):
        with plain.gathered() as gathered:
            answers += _answers(replace(model, network=gathered), images)
        held.append(sum(weight.numel() for weight in network.parameters()))
        engine.train()
        output = engine(**batch.inputs, labels=batch.labels)
        losses.append(float(output.loss.detach()))
        engine.backward(output.loss)
        engine.step()
    trained = plain.trained()
    sums = [float(weight.sum()) for weight in trained.parameters()]
    return {"answers": answers, "losses": losses, "held": held, "sums": sums}


def _answers(model: Model, images: torch.Tensor) -> list[str]:
    """One process is asked more than the other, and for longer answers."""
    grammars = [model.expression_grammar, model.grammars["reg_class"]]
    asked = [Request(0, f"What is number {number}?", grammars[rank()], number) for number in range(1 + 3 * rank())]
    found: list[Answer] = generate(model, images, asked, 1.0)
    return [one.text for one in found]
