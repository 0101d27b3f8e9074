"""Tiny Hugging Face VLMs as vilam opens them, and what they are asked."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import toy
from PIL import Image
from torch import Tensor

from vilam.inference.constraints import TokenGrammar
from vilam.inference.model import Model
from vilam.models.build import build_model, build_tokenizer
from vilam.models.hf.model import HFImages, HFModel
from vilam.models.hf.tokenizer import HFTokenizer
from vilam.models.interface import Packed, Turn

SIZES = ((100, 70), (37, 91), (56, 56))
"""Width and height of the images."""
THOUSANDTHS = "[100, 200, 300, 400]"
TURNS = (
    (0, "Where is the red circle?", "[602, 489, 796, 972]"),
    (0, f"What is in {THOUSANDTHS}?", "the red circle on the left"),
    (1, "Find a star.", "2 parts: [[100, 100], [900, 120], [480, 800], [100, 100]] and [[5, 6], [70, 8], [5, 6]]"),
    (2, "Name the category of the large blue square on the right.", "square"),
    (2, "Locate it.", "[0, 0, 1000, 1000]"),
)
LESSONS = (
    (0, "Where is the red circle?", "[602, 489, 796, 972]"),
    (0, "Find the blue square.", "[10, 20, 300, 410]"),
    (1, "Where is the red circle?", "[120, 30, 480, 540]"),
    (1, "What is in [120, 30, 480, 540]?", "the red circle on the left"),
)
LINEAR = {
    **dict.fromkeys(("blip2-opt", "kosmos-2"), ("v_proj", "fc1", "fc2")),
    **dict.fromkeys(("blip2-t5", "instructblip-t5"), ("v", "o", "wi_0", "wi_1", "wo")),
}
"""The linear layers that get adapters, of models in which they do not have LLaMA's names."""
SHORT = 8
"""The longest free answer in tokens."""


class Subject(NamedTuple):
    """A model of ours and its tokenizer."""

    model: HFModel
    tokenizer: HFTokenizer

    def preprocess(self) -> HFImages:
        """All `noise_images`."""
        return self.model.preprocess(noise_images())

    def turns(self, triples: tuple[tuple[int, str, str], ...] = TURNS) -> list[list[Turn]]:
        """By image."""
        images = self.preprocess()
        rows: list[list[Turn]] = [[] for _ in range(len(images))]
        for image, question, answer in triples:
            ids = self.tokenizer.encode_answer(answer, images.frames[image])
            rows[image].append(Turn(question, tuple(ids)))
        return rows

    def for_inference(self) -> Model:
        """For `generate` and `log_probabilities`, whose requests bring their own grammars."""
        none = torch.tensor([], dtype=torch.long)
        return Model(self.model, self.tokenizer, toy.card(), {}, TokenGrammar((), none, none, self.tokenizer.eos_id))

    def pack(self, triples: tuple[tuple[int, str, str], ...] = TURNS) -> Packed:
        """The tensors that the model takes."""
        return self.model.pack(self.tokenizer, self.preprocess(), self.turns(triples))

    @torch.no_grad()
    def logits(self, triples: tuple[tuple[int, str, str], ...] = TURNS) -> Tensor:
        """Of the answers' tokens, one turn after the other."""
        packed = self.pack(triples)
        return self.model(**packed.inputs, labels=packed.labels).logits


@cache
def noise_images() -> tuple[Image.Image, ...]:
    """Smooth noise in SIZES."""
    rng = np.random.default_rng(0)
    small = [Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)) for _ in SIZES]
    return tuple(each.resize(size, Image.Resampling.BICUBIC) for each, size in zip(small, SIZES, strict=True))


def open_folder(source: Path, **changes: Any) -> Subject:
    """Opens a checkpoint to train its aligner, or what ``changes``, as `toy.params` takes them, say."""
    frozen = {"model__vision__frozen": True, "model__language__frozen": True}
    settings = toy.settings(model__checkpoint=str(source), **{**frozen, **changes}).model
    tokenizer = build_tokenizer(settings, ())
    model = build_model(settings, tokenizer, 0).eval()
    assert isinstance(tokenizer, HFTokenizer) and isinstance(model, HFModel)
    return Subject(model, tokenizer)


def lora(name: str, **changes: Any) -> dict[str, Any]:
    """Settings of adapters."""
    own = {"rank": 8, "alpha": 16, "dropout": 0.0, "targets": [*LINEAR.get(name, ("v_proj", "up_proj", "down_proj"))]}
    return {"model__language__lora": {**own, **changes}}


def rows_of(subject: Subject) -> Subject:
    """A copy, of which questions do not share their picture."""
    model = copy.deepcopy(subject.model)
    own = model.architecture.convention.model_copy(update={"sharing": "rows"})
    model.architecture = type(model.architecture)(own)
    return Subject(model, subject.tokenizer)
