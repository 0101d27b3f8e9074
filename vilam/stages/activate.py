"""``activate``, step 1: captions with coordinates, so that the language model learns that the numbers mean places."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from vilam.config import Settings
from vilam.data.instructions import read_instructions
from vilam.data.store import read_card
from vilam.launch import launch
from vilam.models.build import Trained, build_model, build_tokenizer
from vilam.models.tokenization import lead_in
from vilam.training.run import INSTRUCTIONS, RECORDS, checkpoints_for, run_job

TEXTS = 200_000
"""Instructions that a tokenizer from scratch is trained on, at most."""


def run(settings: Settings, root: Path) -> None:
    """Train step 1 and write models/activate, metrics/activate.json and the loss curve."""
    if launch("activate", settings.activate, root):
        return
    card = read_card(root / RECORDS)
    tokenizer = build_tokenizer(settings.model, texts(root))
    start = Trained(build_model(settings.model, tokenizer, settings.seed), tokenizer, card, {"stage": "activate"})
    checkpoints = checkpoints_for("activate", settings, root, settings.activate.model_dump())
    run_job("activate", settings, root, start, {"activation": 1.0}, 0.0, None, checkpoints, lambda *_: None)


def texts(root: Path) -> Iterator[str]:
    """Questions and answers of the training split."""
    for instruction in islice(read_instructions(root / INSTRUCTIONS, "train"), TEXTS):
        yield instruction.question
        yield lead_in(instruction.answer)
