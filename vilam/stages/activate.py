"""``activate``, step 1: captions with coordinates, so that the language model learns that the numbers mean places.

It begins with the model that the settings describe, or with a trained one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from vilam.config import Settings
from vilam.data.instructions import read_instructions
from vilam.data.store import read_card
from vilam.errors import VilamError
from vilam.inference.addresses import Addressed, find_model
from vilam.launch import launch
from vilam.models.build import Trained, build_model, build_tokenizer
from vilam.models.stock_folder import ABOUT
from vilam.models.tokenization import lead_in
from vilam.training.run import INSTRUCTIONS, RECORDS, checkpoints_for, run_job

TEXTS = 200_000
"""Instructions that a tokenizer from scratch is trained on, at most."""


def run(settings: Settings, root: Path) -> None:
    """Train step 1 and write models/activate, metrics/activate.json and the loss curve."""
    found = _start(settings, root)
    if launch("activate", settings.activate, root):
        return
    start = _new(settings, root) if found is None else _gone_on_with(found, root)
    checkpoints = checkpoints_for("activate", settings, root, settings.activate.model_dump(), start.info)
    run_job("activate", settings, root, start, {"activation": 1.0}, 0.0, None, checkpoints, lambda *_: None)


def _start(settings: Settings, root: Path) -> Addressed | None:
    """The trained model to go on from, if any; raises VilamError where it cannot be gone on with."""
    if settings.model.start is None:
        return None
    found = find_model("model.start", settings.model.start, root, settings.model)
    if settings.train.cycle.mode == "soft" and (found.folder / ABOUT).is_file():
        raise VilamError(f"{found.setting}: train.cycle.mode soft is for parts that are joined by vilam: set another")
    return found


def _gone_on_with(found: Addressed, root: Path) -> Trained:
    before = found.open()
    return replace(before, card=read_card(root / RECORDS), info={"stage": "activate", "start": found.version})


def _new(settings: Settings, root: Path) -> Trained:
    card = read_card(root / RECORDS)
    tokenizer = build_tokenizer(settings.model, texts(root))
    return Trained(build_model(settings.model, tokenizer, settings.seed), tokenizer, card, {"stage": "activate"})


def texts(root: Path) -> Iterator[str]:
    """Questions and answers of the training split."""
    for instruction in islice(read_instructions(root / INSTRUCTIONS, "train"), TEXTS):
        yield instruction.question
        yield lead_in(instruction.answer)
