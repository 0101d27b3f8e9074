"""A model whose answers are defined by the test instead of generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import toy

from vilam.config import CycleSettings
from vilam.cycle import round_trip
from vilam.cycle.pseudo import Source
from vilam.data.instructions import Instruction
from vilam.data.records import Region
from vilam.inference.constraints import Walker
from vilam.inference.generate import Answer, Request
from vilam.inference.model import Model
from vilam.tasks import TASKS
from vilam.tasks.synthesis import render
from vilam.training.sampling import by_image

CYCLE = {
    "start": 0.5, "ramp": 0.25, "image_fraction": 0.5, "instructions": 99, "refresh": 2, "images": 2, "kept": 4,
    "teacher": None,
    "samples": 1, "temperature": 0.7, "max_tokens": 30, "regions": 1, "min_iou": 0.5, "reg_then_rec": 1.0,
    "rec_then_reg": 0.0, "self_training": 0.0, "kl": 0.0, "mode": "pseudo",
}  # fmt: skip
Reply = Callable[[Request], str]


def settings(**changes: object) -> CycleSettings:
    """Settings of the cycle alone."""
    return CycleSettings.model_validate({**CYCLE, **changes})


def instructions(undescribed: bool = False) -> dict[str, dict[str, list[Instruction]]]:
    """The toy's training instructions by image and task; ``undescribed``: as if no region had an expression."""
    return by_image(each for each in toy.of_split("train") if not (undescribed and each.expression))


def sources(count: int = 2, undescribed: bool = False) -> list[Source]:
    """The first images of the toy's training split, whole and with their instructions."""
    chosen = instructions(undescribed)
    return [Source(toy.records()[image_id], chosen[image_id]) for image_id in sorted(chosen)[:count]]


def of_domain(domain: str) -> list[Source]:
    """The same with a domain, a sentence before every question."""
    records = [replace(source.record, domain=domain) for source in sources()]
    return [
        Source(record, by_image(render(record, toy.card(), TASKS.values(), 2, seed=3))[record.image_id])
        for record in records
    ]


def box_of(region: Region) -> str:
    """The true answer for a region."""
    return TASKS["rec_box"].answer(sources()[0].record, region, None)


def script(monkeypatch: pytest.MonkeyPatch, words: Reply, box: Reply) -> list[Request]:
    """Answer requests for free words by ``words`` and all others by ``box``; returns the growing list of requests."""
    made: list[Request] = []

    def generate(_model: Model, _images: object, requests: Sequence[Request], *_: object) -> list[Answer]:
        made.extend(requests)
        texts = [words(each) if Walker(each.grammar, 1).in_words else box(each) for each in requests]
        return [Answer(text, tuple(toy.tokenizer().encode_answer(text)), 0.5) for text in texts]

    monkeypatch.setattr(round_trip, "generate", generate)
    return made
