"""A model that says and finds what a test tells it to, in place of generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import toy

from vilam.config import CycleSettings
from vilam.data.instructions import Instruction
from vilam.data.records import Region
from vilam.inference import round_trip
from vilam.inference.generate import Answer, Request
from vilam.inference.round_trip import Traveller
from vilam.models.constraints import Walker
from vilam.tasks import TASKS
from vilam.tasks.synthesis import render
from vilam.training.middles import Source
from vilam.training.sampling import by_image

CYCLE = {
    "start": 0.5, "ramp": 0.25, "share": 0.5, "instructions": 99, "refresh": 2, "images": 2, "kept": 4, "teacher": None,
    "samples": 1, "temperature": 0.7, "max_words": 30, "regions": 1, "min_iou": 0.5, "reg_then_rec": 1.0,
    "rec_then_reg": 0.0, "retell": 0.0, "kl": 0.0, "mode": "pseudo",
}  # fmt: skip
Say = Callable[[Request], str]


def settings(**changes: object) -> CycleSettings:
    """Settings of the cycle alone."""
    return CycleSettings.model_validate({**CYCLE, **changes})


def instructions(wordless: bool = False) -> dict[str, dict[str, list[Instruction]]]:
    """The toy's training instructions by image and task; ``wordless``: as if nobody had described any region."""
    return by_image(each for each in toy.of_split("train") if not (wordless and each.expression))


def sources(count: int = 2, wordless: bool = False) -> list[Source]:
    """The first images of the toy's training split, whole and with their instructions."""
    chosen = instructions(wordless)
    return [Source(toy.records()[image_id], chosen[image_id]) for image_id in sorted(chosen)[:count]]


def of_domain(domain: str) -> list[Source]:
    """The same with a sentence in front of all that is asked about them."""
    records = [replace(source.record, domain=domain) for source in sources()]
    return [
        Source(record, by_image(render(record, toy.card(), TASKS.values(), 2, seed=3))[record.image_id])
        for record in records
    ]


def traveller() -> Traveller:
    """One that knows the toy's tokenizer and card."""
    return Traveller(toy.tokenizer(), toy.card())


def box_of(region: Region) -> str:
    """The true answer for a region."""
    return TASKS["rec_box"].answer(sources()[0].record, region, None)


def script(monkeypatch: pytest.MonkeyPatch, words: Say, box: Say) -> list[Request]:
    """Let ``words`` answer what asks for free words and ``box`` all else; returns what was asked, as it is asked."""
    asked: list[Request] = []

    def generate(
        _model: object, _tokenizer: object, _pixels: object, requests: Sequence[Request], *_: object
    ) -> list[Answer]:
        asked.extend(requests)
        texts = [words(each) if Walker(each.grammar, 1).in_words else box(each) for each in requests]
        return [Answer(text, tuple(toy.tokenizer().encode_answer(text)), 0.5) for text in texts]

    monkeypatch.setattr(round_trip, "generate", generate)
    return asked
