"""``activate``: phase 1, captions with coordinates, so that the language model learns what coordinates mean.

It starts from the model that the settings describe, or from a trained one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from vilam.config import Settings
from vilam.data.card import read_card
from vilam.data.instructions import read_instructions
from vilam.data.records import TRAIN
from vilam.errors import VilamError
from vilam.inference.resolve import ResolvedModel, resolve_model
from vilam.launch import launch
from vilam.layout import Layout
from vilam.models.build import RUN, LoadedModel, build_model, build_tokenizer
from vilam.models.hf import ABOUT
from vilam.models.vilam.tokenization import add_answer_prefix
from vilam.stages.phase import Data, check_use, checkpoints_for, train_stage

TEXTS = 200_000
"""Number of instructions that a tokenizer is trained on, at most."""


def run(settings: Settings, root: Path) -> None:
    """Train on captions with coordinates; write models/activate, metrics/activate.json and the loss curve."""
    layout, phase = Layout(root), settings.activate
    check_use(settings, layout)
    resolved = _resolved(settings, root)
    if launch("activate", phase, root):
        return
    start = _new(settings, layout) if resolved is None else _trained(resolved, layout)
    checkpoints = checkpoints_for("activate", settings, layout, phase.model_dump(), start.info)
    tasks = {"activation": 1.0}
    data = Data.open(layout, {*tasks}, phase.validation_images)
    train_stage("activate", settings, layout, start, data, tasks, 0.0, None, checkpoints, lambda *_: None)


def _resolved(settings: Settings, root: Path) -> ResolvedModel | None:
    """The trained model to fine-tune, if there is one; raises VilamError if it cannot be fine-tuned."""
    if settings.model.fine_tune_from is None:
        return None
    found = resolve_model("model.fine_tune_from", settings.model.fine_tune_from, root, settings.model)
    if not (found.folder / RUN).is_file():
        raise VilamError(f"{found.setting}: it was not trained here: set model.checkpoint to it instead")
    if settings.train.cycle.mode == "soft" and (found.folder / ABOUT).is_file():
        raise VilamError(f"{found.setting}: train.cycle.mode soft is for a composed model: set another mode")
    return found


def _trained(resolved: ResolvedModel, layout: Layout) -> LoadedModel:
    info = {"stage": "activate", "fine_tuned_from": resolved.version}
    return replace(resolved.open(), card=read_card(layout.records), info=info)


def _new(settings: Settings, layout: Layout) -> LoadedModel:
    card = read_card(layout.records)
    tokenizer = build_tokenizer(settings.model, texts(layout))
    network = build_model(settings.model, tokenizer, settings.seed)
    return LoadedModel(network, tokenizer, card, {"stage": "activate"})


def texts(layout: Layout) -> Iterator[str]:
    """Questions and answers of the training split."""
    for instruction in islice(read_instructions(layout.instructions, TRAIN), TEXTS):
        yield instruction.question
        yield add_answer_prefix(instruction.answer)
