"""Whole models of transformers against transformers alone: what they are told, trained, kept, asked and exported."""

from __future__ import annotations

import copy
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import stock
import torch
import toy
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText, LlamaConfig, LlamaForCausalLM
from transformers.modeling_layers import GradientCheckpointingLayer

from vilam.errors import VilamError
from vilam.inference.generate import MAX_WORDS, Answer, Request, generate
from vilam.inference.scoring import Given, log_probabilities
from vilam.models import architectures, stock_folder
from vilam.models.build import Trained, build_model, build_tokenizer, load_trained, save_trained
from vilam.models.constraints import GrammarCompiler, TokenGrammar, Walker
from vilam.models.family import Exchange, Packed
from vilam.models.stills import open_processor
from vilam.models.stock import StockModel, StockPictures, StockTokenizer
from vilam.tasks import TASKS
from vilam.tasks.grammar import Words

SIZES = ((100, 70), (37, 91), (56, 56))
"""Of the pictures."""
THOUSANDTHS = "[100, 200, 300, 400]"
ASK_BLIP2 = "Question: {} Answer:"
ASK_QWEN = (
    "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n"  # as published
)
ASKED = {
    "blip2-opt": (ASK_BLIP2, THOUSANDTHS),
    "blip2-t5": (ASK_BLIP2, THOUSANDTHS),
    "instructblip-vicuna": ("{}", THOUSANDTHS),
    "instructblip-t5": ("{}", THOUSANDTHS),
    "llava": ("USER: <image>\n{} ASSISTANT:", "[0.10, 0.29, 0.30, 0.43]"),
    "qwen2.5-vl": (ASK_QWEN, "[11, 11, 34, 22]"),
    "qwen3-vl": (ASK_QWEN, THOUSANDTHS),
    "paligemma": ("<image>{}", "<loc0205><loc0102><loc0409><loc0307>"),
    "smolvlm": ("<|im_start|>User:<image>{}<end_of_utterance>\nAssistant:", THOUSANDTHS),
    "kosmos-2": ("<grounding> {}", "<object><patch_index_0195><patch_index_0393></object>"),
}
"""The whole text that asks a question, and in it the box THOUSANDTHS of the first picture; worked out by hand."""
EXCHANGES = (
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
LINEAR = ["q_proj", "v_proj", "out_proj", "o_proj", "fc1", "fc2", "gate_proj", "up_proj", "down_proj"]
every_family = pytest.mark.parametrize("name", stock.STOCK)


class Subject(NamedTuple):
    """A model of ours and its tokenizer."""

    model: StockModel
    tokenizer: StockTokenizer

    def see(self) -> StockPictures:
        return self.model.see(pictures())

    def exchanges(self, given: tuple[tuple[int, str, str], ...] = EXCHANGES) -> list[list[Exchange]]:
        """By picture."""
        seen = self.see()
        rows: list[list[Exchange]] = [[] for _ in range(len(seen))]
        for image, question, answer in given:
            ids = self.tokenizer.encode_answer(answer, seen.frames[image])
            rows[image].append(Exchange(question, tuple(ids)))
        return rows

    def pack(self, given: tuple[tuple[int, str, str], ...] = EXCHANGES) -> Packed:
        return self.model.pack(self.tokenizer, self.see(), self.exchanges(given))

    @torch.no_grad()
    def logits(self, given: tuple[tuple[int, str, str], ...] = EXCHANGES) -> Tensor:
        """Of the answers' tokens, one exchange after the other."""
        packed = self.pack(given)
        return self.model(**packed.inputs, labels=packed.labels).logits


class Alone:
    """A checkpoint as transformers alone opens it, asked one thing at a time in a text written out here."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.model = AutoModelForImageTextToText.from_pretrained(folder).eval()
        self.processor = open_processor(str(folder), self.model.config.model_type)
        self.tokenizer = self.processor.tokenizer

    def prompt(self, picture: Image.Image, question: str) -> dict[str, Tensor]:
        """LLaVA's picture is padded here, so that nothing of it is left to be cropped."""
        ask, region = ASKED[self.name]
        text = ask.format(question.replace(THOUSANDTHS, region))
        shown = padded(picture) if self.name == "llava" else picture
        return dict(self.processor(text=text, images=[shown], return_tensors="pt"))

    @torch.no_grad()
    def logits(self, picture: Image.Image, question: str, answer: tuple[int, ...]) -> Tensor:
        """Of the answer's tokens: (T, tokens)."""
        inputs = self.prompt(picture, question)
        if "t5" in self.name:
            start = self.model.config.get_text_config().decoder_start_token_id
            return self.model(**inputs, decoder_input_ids=torch.tensor([[start, *answer[:-1]]])).logits[0]
        length = inputs["input_ids"].shape[1]
        ends = {"input_ids": answer, "attention_mask": [1], "token_type_ids": [1]}
        for key, value in inputs.items():
            if value.shape == (1, length) and not key.startswith("qformer"):
                end = torch.tensor(ends.get(key, [0])).expand(len(answer))
                inputs[key] = torch.cat([value, end.unsqueeze(0)], dim=1)
        return self.model(**inputs).logits[0, length - 1 : -1]


def padded(picture: Image.Image) -> Image.Image:
    """In the middle of a square of CLIP's mean colour."""
    side = max(picture.size)
    square = Image.new("RGB", (side, side), (122, 116, 104))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


@cache
def pictures() -> tuple[Image.Image, ...]:
    """Smooth noise."""
    dice = np.random.default_rng(0)
    small = [Image.fromarray(dice.integers(0, 256, (5, 5, 3), dtype=np.uint8)) for _ in SIZES]
    return tuple(each.resize(size, Image.Resampling.BICUBIC) for each, size in zip(small, SIZES, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where the checkpoint of a family lies."""
    root = tmp_path_factory.mktemp("stock")

    @cache
    def write(name: str) -> Path:
        stock.STOCK[name](root / name)
        return root / name

    return write


@pytest.fixture(scope="module")
def alone(folder: Callable[[str], Path]) -> Callable[[str], Alone]:
    """A family's checkpoint as transformers alone has it."""
    return cache(lambda name: Alone(name, folder(name)))


def open_folder(source: Path, **changes: Any) -> Subject:
    """With the aligner trained unless ``changes``, as `toy.params` takes them, say otherwise."""
    frozen = {"model__vision__frozen": True, "model__language__frozen": True}
    settings = toy.settings(model__checkpoint=str(source), **{**frozen, **changes}).model
    tokenizer = build_tokenizer(settings, ())
    model = build_model(settings, tokenizer, 0).eval()
    assert isinstance(tokenizer, StockTokenizer) and isinstance(model, StockModel)
    return Subject(model, tokenizer)


def lora(name: str, **changes: Any) -> dict[str, Any]:
    """Settings of adapters."""
    targets = ["q", "v", "o", "wi_0", "wi_1", "wo"] if "t5" in name else LINEAR
    return {"model__language__lora": {"rank": 8, "alpha": 16, "dropout": 0.0, "targets": targets, **changes}}


@pytest.fixture(scope="module")
def opened(folder: Callable[[str], Path]) -> Callable[[str], Subject]:
    """A family's checkpoint as we open it; for all tests, so none may change it."""
    return cache(lambda name: open_folder(folder(name)))


def learn(subject: Subject, steps: int, until: float = 0.0, rate: float = 0.01) -> list[float]:
    """Losses of LESSONS before and every ten steps of AdamW, without dropout, until the last is low enough."""
    for module in subject.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    packed, losses = subject.pack(LESSONS), []
    weights = [weight for weight in subject.model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=0.0)
    for step in range(steps + 1):
        subject.model.train()
        loss = subject.model(**packed.inputs, labels=packed.labels).loss
        if step % 10 == 0:
            losses.append(loss.item())
            if losses[-1] < until:
                break
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
    subject.model.eval()
    return losses


def sharpen(model: StockModel) -> None:
    """Let a language model of random weights be as sure of a token as trained ones can: four times its last norm."""
    ends = [
        module
        for name, module in model.stock.named_modules()
        if re.fullmatch(r"(?:model\.|language_model\.|text_model\.)*(?:model\.|decoder\.)?(?:final_)?(?:layer_)?norm", name)
    ]
    assert len(ends) == 1
    with torch.no_grad():
        zero = 1.0 if "Gemma" in type(ends[0]).__name__ else 0.0  # Gemma's norms count from 1
        ends[0].weight.add_(zero).mul_(4.0).sub_(zero)
