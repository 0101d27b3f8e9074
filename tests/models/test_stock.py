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
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import stock
import torch
import toy
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText, LlamaConfig, LlamaForCausalLM

from vilam.errors import VilamError
from vilam.inference.generate import Answer, Request, generate
from vilam.inference.scoring import Given, log_probabilities
from vilam.models import architectures, stock_folder
from vilam.models.build import Trained, build_model, build_tokenizer, load_trained, save_trained
from vilam.models.constraints import GrammarCompiler, TokenGrammar, Walker
from vilam.models.conventions import Convention, Frame
from vilam.models.family import Exchange, Packed
from vilam.models.stills import open_processor
from vilam.models.stock import StockModel, StockPictures, StockTokenizer
from vilam.tasks import ALL_TASKS
from vilam.tasks.grammar import Words

SIZES = ((100, 70), (37, 91), (56, 56))
"""Of the pictures."""
THOUSANDTHS = "[100, 200, 300, 400]"
ASK_BLIP2 = "Question: {} Answer:"
ASK_QWEN = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n"
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
LINEAR = {
    **dict.fromkeys(("blip2-opt", "kosmos-2"), ("v_proj", "fc1", "fc2")),
    **dict.fromkeys(("blip2-t5", "instructblip-t5"), ("v", "o", "wi_0", "wi_1", "wo")),
}
"""Whose linear layers are not called as LLaMA's."""
"""Layers that adapters stand beside, by whether it is a T5."""
every_family = pytest.mark.parametrize("name", stock.STOCK)


class Subject(NamedTuple):
    """A model of ours and its tokenizer."""

    model: StockModel
    tokenizer: StockTokenizer

    def see(self) -> StockPictures:
        """All of `pictures`."""
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
        """As the model takes them."""
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
        made = self.processor(text=text, images=[shown], return_tensors="pt")
        return {key: value for key, value in made.items() if key != "labels"}

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
    own = {"rank": 8, "alpha": 16, "dropout": 0.0, "targets": [*LINEAR.get(name, ("v_proj", "up_proj", "down_proj"))]}
    return {"model__language__lora": {**own, **changes}}


@pytest.fixture(scope="module")
def opened(folder: Callable[[str], Path]) -> Callable[[str], Subject]:
    """A family's checkpoint as we open it; for all tests, so none may change it."""
    return cache(lambda name: open_folder(folder(name)))


def learn(subject: Subject, steps: int, until: float = 0.0, rate: float = 0.01) -> list[float]:
    """Losses of LESSONS before and every five steps of AdamW, without dropout, until the last is low enough."""
    for module in subject.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    packed, losses = subject.pack(LESSONS), []
    weights = [weight for weight in subject.model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=0.0)
    for step in range(steps + 1):
        subject.model.train()
        loss = subject.model(**packed.inputs, labels=packed.labels).loss
        if step % 5 == 0:
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
    """Let a language model of random weights be as sure of a token as trained ones are: four times its last norm."""
    ends = [
        module
        for name, module in model.stock.named_modules()
        if "norm" in name.rpartition(".")[2] and not re.search("layers|block|vision|visual|qformer", name)
    ]
    with torch.no_grad():
        zero = 1.0 if "Gemma" in type(ends[-1]).__name__ else 0.0  # what Gemma adds to it
        ends[-1].weight.add_(zero).mul_(4.0).sub_(zero)


class Learnt(NamedTuple):
    """A model that has learnt LESSONS, its state before, and its losses on the way."""

    subject: Subject
    before: dict[str, Tensor]
    losses: list[float]


def state(model: StockModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(model: StockModel, before: dict[str, Tensor]) -> set[str]:
    """Names of the weights that are no longer what they were, as in the checkpoint."""
    after = model.state_dict()
    assert after.keys() == before.keys()
    return {name.removeprefix("stock.") for name, value in after.items() if not torch.equal(value, before[name])}


@pytest.fixture(scope="module")
def learnt(folder: Callable[[str], Path]) -> Callable[[str], Learnt]:
    """A family's model with adapters, its aligner trained along with them; for all tests, so none may change it."""

    def make(name: str) -> Learnt:
        torch.manual_seed(0)
        subject = open_folder(folder(name), **lora(name))
        sharpen(subject.model)
        before = state(subject.model)
        return Learnt(subject, before, learn(subject, 100, until=0.05, rate=0.005 if "t5" in name else 0.02))

    return cache(make)


# What is asked, and what is said of it.


@every_family
def test_a_question_is_asked_in_the_model_s_own_words_and_places(name, opened, alone):
    model, tokenizer = opened(name)
    seen = model.see(pictures())
    ask, region = ASKED[name]
    question = f"What is in {THOUSANDTHS}, or {{}}?"
    asked = tokenizer.prompt(question, seen.frames[0])
    assert asked == ask.replace("{}", question.replace(THOUSANDTHS, region))
    made = tokenizer.processed(question, seen.images[0], seen.frames[0])
    own = alone(name).prompt(pictures()[0], question)
    assert made.keys() == own.keys()
    assert all(torch.equal(made[key], own[key]) for key in own.keys() - {"pixel_values"})
    torch.testing.assert_close(made["pixel_values"], own["pixel_values"])


@every_family
def test_packed_answers_have_the_logits_that_transformers_gives_each_alone(name, opened, alone):
    exchanges = [(image, each) for image, row in enumerate(opened(name).exchanges()) for each in row]
    own = [alone(name).logits(pictures()[image], each.question, each.answer) for image, each in exchanges]
    logits = opened(name).logits()
    assert float(logits.std()) > 0.5
    torch.testing.assert_close(logits, torch.cat(own), atol=1e-4, rtol=1e-4)


@every_family
def test_the_loss_is_the_weighted_cross_entropy_of_the_answers(name, opened):
    packed = opened(name).pack()
    answers = [ids for row in opened(name).exchanges() for each in row for ids in each.answer]
    assert packed.labels[packed.labels != -100].tolist() == answers
    weights = torch.rand(packed.labels.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = opened(name).model(**packed.inputs, labels=packed.labels, weights=weights)
    losses = nn.functional.cross_entropy(output.logits, torch.tensor(answers), reduction="none")
    own = weights[packed.labels != -100]
    torch.testing.assert_close(output.loss, (losses * own).sum() / own.sum())


@every_family
def test_log_probabilities_are_those_of_each_answer_alone(name, opened, alone):
    model, tokenizer = opened(name)
    rows = opened(name).exchanges()
    given = [Given(image, each.question, each.answer) for image, row in enumerate(rows) for each in row][::-1]
    known = log_probabilities(model, tokenizer, model.see(pictures()), given)
    for each, found in zip(given, known, strict=True):
        logits = alone(name).logits(pictures()[each.image], each.question, each.ids)
        own = logits.log_softmax(-1)[torch.arange(len(each.ids)), torch.tensor(each.ids)]
        assert list(found) == pytest.approx(own.tolist(), abs=1e-4)
        single = log_probabilities(model, tokenizer, model.see([pictures()[each.image]]), [replace(each, image=0)])
        assert list(single[0]) == pytest.approx(list(found), abs=1e-4)


# The tokenizer.

ANSWERS = (
    "[602, 489, 796, 972]",
    "[0, 0, 1000, 1000]",
    "2 parts: [[0, 0], [1000, 1000], [333, 7], [0, 0]] and [[55, 5], [999, 20], [33, 700], [55, 5]]",
    "4 keypoints: [[0, 0], [301, 40], [50, 600], [700, 800]]",
    "the red circle",
    "Large, blue-grey ring; it's (nearly) on the left of 12 stars!",
    "fire",
    "snowman",
)


def numbers(text: str) -> list[int]:
    return [int(number) for group in re.findall(r"\[[^a-z]*\]", text) for number in re.findall("[0-9]+", group)]


@every_family
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("image", range(len(SIZES)))
def test_an_answer_can_be_read_back(name, answer, image, opened):
    model, tokenizer = opened(name)
    frame = model.see(pictures()).frames[image]
    ids = tokenizer.encode_answer(answer, frame)
    assert ids[-1] == tokenizer.eos_id and tokenizer.eos_id not in ids[:-1]
    back = tokenizer.decode_answer(ids, frame)
    assert re.sub("[0-9]+", "0", back) == re.sub("[0-9]+", "0", answer)
    # Half a step of what is counted, and half of one here; of a box of cells, a whole cell.
    width, height = SIZES[image]
    steps = {
        "llava": (100 * width / max(width, height), 100 * height / max(width, height)),
        "qwen2.5-vl": (frame.width, frame.height),
        "paligemma": (1023, 1023),
        "kosmos-2": (16, 16),
    }.get(name, (1000, 1000))
    for index, (found, true) in enumerate(zip(numbers(back), numbers(answer), strict=True)):
        exact = steps[index % 2] == 1000
        assert abs(found - true) <= (0 if exact else 500 / steps[index % 2] + 0.5), back


def special(tokenizer: StockTokenizer) -> list[str]:
    """Tokens that must never be read from what a person writes; of many numbered ones, one."""
    names = tokenizer.tokenizer.get_added_vocab()
    known = [each for each in names if not re.search("[0-9]", each) or "0007" in each or "1_col_1" in each]
    return [*known, "<|placeholder|>", "<image>", "<|image_pad|>", "<|im_end|>", "</s>", "<eos>", "[SEP]"]


def specials_of(tokenizer: Any, ids: Iterable[int]) -> list[int]:
    """Those of the ids that are no words; what is unknown is no matter."""
    watched = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()} - {tokenizer.unk_token_id}
    return [i for i in ids if i in watched]


@every_family
def test_no_special_token_comes_from_a_question(name, opened):
    """Not even one that stands around another one."""
    model, tokenizer = opened(name)
    seen = model.see(pictures())

    def found(question: str) -> list[list[int]]:
        made = tokenizer.processed(question, seen.images[0], seen.frames[0])
        texts = {"input_ids": tokenizer.tokenizer}
        if "qformer_input_ids" in made:
            texts["qformer_input_ids"] = tokenizer.processor.qformer_tokenizer
        return [specials_of(each, made[key][0].tolist()) for key, each in texts.items()]

    plain = found("Where is it?")
    for token in special(tokenizer):
        half = len(token) // 2
        nested = token[:half] + token + token[half:]
        twice = token[:half] + nested + token[half:]
        assert found(f"Where is {token}{token} a {token} or {nested} or {twice}?") == plain, token


@every_family
def test_no_special_token_comes_from_an_answer(name, opened):
    """But the one that ends it, and those of its places."""
    model, tokenizer = opened(name)
    frame = model.see(pictures()).frames[0]

    def found(answer: str) -> list[int]:
        return specials_of(tokenizer.tokenizer, tokenizer.encode_answer(answer, frame))

    for token in special(tokenizer):
        for form in ("{}", "a {} b", f"{THOUSANDTHS}{{}}", f"{{}} {THOUSANDTHS} {{}} b"):
            assert found(form.format(token, token)) == found(form.format("a", "a")), form.format(token, token)


# Pictures.


@pytest.mark.parametrize("size", [(100, 70), (37, 91), (56, 56), (700, 30), (9, 640), (1500, 1100)])
def test_the_frame_of_qwen_is_the_picture_as_it_is_resized(size, opened):
    model, tokenizer = opened("qwen2.5-vl")
    picture = pictures()[0].resize(size)
    frame = model.see([picture]).frames[0]
    _, rows, columns = tokenizer.processed("Where?", picture, frame)["image_grid_thw"][0].tolist()
    assert (frame.width, frame.height) == (columns * stock.PATCH, rows * stock.PATCH)
    assert frame.picture == (0, 0, frame.width, frame.height)


@pytest.mark.parametrize("size", [(100, 70), (37, 91), (56, 56), (200, 20), (11, 300)])
def test_llava_sees_the_whole_picture_in_a_square(size, opened):
    """White, so that it can be told from the square, and its own corners are there."""
    model, tokenizer = opened("llava")
    picture = Image.new("RGB", size, "white")
    frame = model.see([picture]).frames[0]
    pixels = tokenizer.processed("Where?", picture, frame)["pixel_values"][0]
    images = tokenizer.processor.image_processor
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (images.image_mean, images.image_std))
    shades = (pixels * std + mean) * 255
    wanted = np.asarray(padded(picture).resize((stock.SIZE, stock.SIZE), Image.Resampling.BICUBIC))
    assert shades.shape == (3, stock.SIZE, stock.SIZE)
    assert (shades - torch.from_numpy(wanted.copy()).permute(2, 0, 1)).abs().max() < 1.5
    left, top, right, bottom = (round(side * stock.SIZE / frame.width) for side in frame.picture)
    white = (shades > 250).all(0)
    assert white[top + 2 : bottom - 2, left + 2 : right - 2].all()
    if size[0] != size[1]:
        assert not white[0, 0] and not white[-1, -1]
        torch.testing.assert_close(shades[:, 0, 0], torch.tensor([122.0, 116.0, 104.0]), atol=0.6, rtol=0)


@every_family
@pytest.mark.parametrize("size", [(1, 1), (3, 50), (50, 3), (1, 90), (190, 1), (900, 8)])
def test_pictures_of_odd_sizes_are_seen(name, size, opened):
    model, tokenizer = opened(name)
    seen = model.see([Image.new("RGB", size, "red")])
    ids = tuple(tokenizer.encode_answer("[100, 200, 300, 400]", seen.frames[0]))
    packed = model.pack(tokenizer, seen, [[Exchange("Where?", ids)]])
    pixels = packed.inputs["pixel_values"]
    with torch.no_grad():
        assert model(**packed.inputs, labels=packed.labels).loss.isfinite()
    if "qwen" not in name:  # red, so not taken for a picture of other channels
        assert pixels.shape[-3] == 3
        red, green = pixels[..., 0, :, :], pixels[..., 1, :, :]
        assert (red - green).max() > 0.5


@pytest.mark.parametrize("name", ["qwen2.5-vl", "qwen3-vl"])
def test_a_picture_that_is_too_thin_for_qwen_is_told_in_one_line(name, opened):
    model, tokenizer = opened(name)
    with pytest.raises(VilamError, match="aspect ratio"):
        seen = model.see([Image.new("RGB", (1, 300))])
        tokenizer.processed("Where?", seen.images[0], seen.frames[0])


# Answers.


@pytest.fixture(scope="module")
def compiled(opened: Callable[[str], Subject]) -> Callable[[str], dict[str, TokenGrammar]]:
    """A family's grammars by task; of outlines only those of one part, of boxes two, and words without digits."""

    def compile_all(name: str) -> dict[str, TokenGrammar]:
        compiler = GrammarCompiler(opened(name).tokenizer)
        grammars = {task.name: task.grammar(toy.card()) for task in ALL_TASKS.values()}
        grammars["rec_mask"] = grammars["rec_mask"][:1]
        grammars["rec_every"] = grammars["rec_every"][2:3]
        grammars["words"] = ((Words(digits=False),),)
        return {task: compiler.compile(grammar) for task, grammar in grammars.items()}

    return cache(compile_all)


QUESTIONS = (
    (0, "rec_box", "Where is the red circle in the picture?"),
    (1, "rec_box", "Find it."),
    (1, "rec_keypoints", "Where are the keypoints of the large purple ring on the left?"),
    (1, "rec_every", "Find everything that fits ring."),
    (0, "reg_class", f"Name the category of {THOUSANDTHS}."),
    (0, "reg_caption", f"Describe {THOUSANDTHS}."),
    (2, "words", "What is it?"),
)


MORE = ((0, "words", "Say."), (1, "words", "Tell."), (2, "rec_box", "There?"))
OUTLINE = (1, "rec_mask", "Outline it.")
OUTLINED = {"blip2-t5", "llava", "qwen2.5-vl", "paligemma", "kosmos-2"}
"""Families that are asked for an outline, which takes as long as all else: one of each way of writing numbers."""
SHORT = 8
"""The longest free answer in tokens."""


class Spoken(NamedTuple):
    """A request of a task, the batch's answer to it, and the picture's frame."""

    task: str
    request: Request
    answer: Answer
    frame: Frame


@pytest.fixture(scope="module")
def spoken(opened: Callable[[str], Subject], compiled: Callable[[str], dict[str, TokenGrammar]]) -> Callable[..., Any]:
    """The answers of a family's model to a batch of QUESTIONS; to MORE where they are drawn."""

    def speak(name: str, temperature: float) -> list[Spoken]:
        model, tokenizer = opened(name)
        asked, seen = QUESTIONS + (MORE if temperature else ()), model.see(pictures())
        asked += (OUTLINE,) if temperature and name in OUTLINED else ()
        requests = [Request(image, text, compiled(name)[task], seed) for seed, (image, task, text) in enumerate(asked)]
        answers = generate(model, tokenizer, seen, requests, temperature, SHORT)
        frames = [seen.frames[request.image] for request in requests]
        tasks = [task for _, task, _ in asked]
        return [Spoken(*each) for each in zip(tasks, requests, answers, frames, strict=True)]

    return cache(speak)


def under_the_grammar(alone: Alone, convention: Convention, said: Spoken) -> float:
    """The geometric mean of the probabilities of its tokens among those that were allowed, by one whole pass."""
    logits = alone.logits(pictures()[said.request.image], said.request.question, said.answer.ids)
    walker, total = Walker(said.request.grammar, SHORT, convention.bounds(said.frame)), 0.0
    for row, token in zip(logits, said.answer.ids, strict=True):
        total += float(row[token] - row[walker.allowed()].logsumexp(0))
        walker.advance(token)
    assert walker.done
    return math.exp(total / len(said.answer.ids))


@every_family
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_batch_is_answered_as_one_by_one(name, temperature, opened, spoken):
    model, tokenizer = opened(name)
    seen = model.see(pictures())
    for said in spoken(name, temperature)[: len(QUESTIONS)]:
        single = replace(said.request, image=0)
        own = generate(model, tokenizer, seen[[said.request.image]], [single], temperature, SHORT)[0]
        assert own.ids == said.answer.ids and own.text == said.answer.text
        assert own.confidence == pytest.approx(said.answer.confidence, abs=1e-5)


@every_family
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_its_confidence_is_that_of_transformers_alone(name, temperature, opened, alone, spoken):
    for said in spoken(name, temperature):
        own = under_the_grammar(alone(name), opened(name).tokenizer.convention, said)
        assert said.answer.confidence == pytest.approx(own, abs=1e-5)


@every_family
def test_every_answer_can_be_read(name, opened, spoken):
    """Of a model that has learnt nothing, drawn; its words are none of those that the grammar forbids."""
    tokenizer = opened(name).tokenizer
    for task, request, answer, _ in spoken(name, 1.0):
        if task != "words":
            assert ALL_TASKS[task].parse(answer.text, *SIZES[request.image]) is not None, answer.text
        if task in ("words", "reg_caption"):
            assert answer.text.strip() and not set(answer.text) & set("[]")
            assert not specials_of(tokenizer.tokenizer, answer.ids[:-1])
        if task == "words":
            assert not any(map(str.isnumeric, answer.text))
        if task == "reg_class":
            assert answer.text in toy.card().categories
        assert 0 < answer.confidence <= 1


@pytest.mark.parametrize("name", ["qwen2.5-vl", "smolvlm", "blip2-t5"])
def test_what_a_checkpoint_says_of_generation_changes_no_answer(name, folder, spoken):
    """Qwen2.5-VL's says: repeat less."""
    model, tokenizer = open_folder(folder(name))
    model.stock.generation_config.update(repetition_penalty=1.05, do_sample=True, temperature=0.1, top_k=1)
    requests = [said.request for said in spoken(name, 0.0)]
    answers = generate(model, tokenizer, model.see(pictures()), requests, 0.0, SHORT)
    assert answers == [said.answer for said in spoken(name, 0.0)]


# Training.

ALIGNER = re.compile(
    "query_tokens|qformer|language_projection|multi_modal_projector|merger|connector|image_to_text_projection"
)


@every_family
def test_alignment_learns_alone(name, folder):
    """It is all that changes: vision tower and language model stay bit for bit what they were."""
    subject = open_folder(folder(name))
    sharpen(subject.model)
    before = state(subject.model)
    assert {each for each, weight in subject.model.stock.named_parameters() if weight.requires_grad} == {
        each for each, _ in subject.model.stock.named_parameters() if ALIGNER.search(each)
    }
    losses = learn(subject, 10, rate=0.02)
    assert losses[-1] < 0.9 * losses[0]
    found = changed(subject.model, before)
    assert found and all(map(ALIGNER.search, found))


@every_family
def test_adapters_learn_by_heart_beside_frozen_layers(name, learnt):
    """With the aligner: alignment alone of a tiny model of random weights cannot."""
    subject, before, losses = learnt(name)
    assert losses[0] > 2 and losses[-1] < 0.05
    found = changed(subject.model, before)
    assert all("lora_" in each or ALIGNER.search(each) for each in found)
    assert {each for each in found if "lora_" in each} == {
        each.removeprefix("stock.") for each in before if "lora_" in each
    }
    assert any(map(ALIGNER.search, found))


@every_family
def test_a_whole_language_model_learns_beside_a_frozen_tower(name, folder):
    subject = open_folder(folder(name), model__language__frozen=False)
    before = state(subject.model)
    losses = learn(subject, 10)
    assert losses[-1] < 0.5 * losses[0]
    found = changed(subject.model, before)
    assert any(map(ALIGNER.search, found)) and not all(map(ALIGNER.search, found))
    assert not any(re.search("vision|visual", each) and not ALIGNER.search(each) for each in found)


@every_family
def test_frozen_parts_stay_in_evaluation_mode_and_adapters_do_not(name, folder):
    model = open_folder(folder(name), **lora(name, dropout=0.5)).model.train()
    modes = {each: module.training for each, module in model.stock.named_modules() if each}
    assert {each for each, mode in modes.items() if mode} == {
        each for each in modes if ALIGNER.search(each) or "lora_" in each
    }
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout) and module.training]
    assert any(module.p == 0.5 for module in dropouts)
    assert not any(module.training for module in model.eval().modules())


def gradients(subject: Subject) -> dict[str, Tensor]:
    packed = subject.pack(LESSONS)
    subject.model.train()
    torch.manual_seed(0)  # of the dropout
    subject.model(**packed.inputs, labels=packed.labels).loss.backward()
    return {each: weight.grad for each, weight in subject.model.named_parameters() if weight.grad is not None}


@every_family
@pytest.mark.parametrize("adapted", [True, False])
def test_layers_that_compute_again_have_the_same_gradients(name, adapted, folder):
    """And each of the language model's computes twice, also where it is frozen and adapters stand beside it."""
    torch.manual_seed(1)
    subject = open_folder(folder(name), **(lora(name, dropout=0.5) if adapted else {"model__language__frozen": False}))
    wanted = gradients(Subject(copy.deepcopy(subject.model), subject.tokenizer))
    subject.model.recompute()
    calls: Counter[str] = Counter()
    for each, module in subject.model.stock.named_modules():
        if re.search(r"(q_proj|\.q)$", each) and subject.model.known.part(each) == "language":
            module.register_forward_hook(lambda *_, key=each: calls.update([key]))
    found = gradients(subject)
    assert wanted.keys() == found.keys()
    for each, gradient in wanted.items():
        torch.testing.assert_close(found[each], gradient, atol=1e-6, rtol=1e-4)
    assert {*calls.values()} == {2}


# Folders.


@pytest.mark.parametrize(
    ("name", "adapted"), [*((name, True) for name in stock.STOCK), ("qwen3-vl", False), ("instructblip-t5", False)]
)
def test_a_saved_model_is_opened_bit_for_bit(name, adapted, learnt, folder, tmp_path):
    whole = {"model__freeze_aligner": True, "model__language__frozen": False}
    subject = learnt(name).subject if adapted else open_folder(folder(name), **whole)
    save_trained(Trained(subject.model, subject.tokenizer, toy.card(), {"stage": "train"}), tmp_path / "model")
    found = load_trained(tmp_path / "model")
    assert isinstance(found.model, StockModel) and isinstance(found.tokenizer, StockTokenizer)
    assert not changed(found.model, state(subject.model))
    assert torch.equal(Subject(found.model, found.tokenizer).logits(), subject.logits())
    frozen = [
        {each: weight.requires_grad for each, weight in m.named_parameters()} for m in (found.model, subject.model)
    ]
    assert frozen[0] == frozen[1] and any(frozen[0].values())
    assert not {path.suffix for path in (tmp_path / "model").rglob("*")} & {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
    assert (tmp_path / "model" / "adapters.safetensors").exists() == adapted
    for picture, frame in zip(pictures(), subject.see().frames, strict=True):
        before, after = (each.processed("Where?", picture, frame) for each in (subject.tokenizer, found.tokenizer))
        assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", ["blip2-t5", "llava", "paligemma"])
def test_what_is_held_in_half_precision_is_kept_too(name, folder, tmp_path):
    torch.manual_seed(0)
    subject = open_folder(folder(name), **lora(name))
    learn(subject, 5)
    subject.model.settle(torch.bfloat16)
    save_trained(Trained(subject.model, subject.tokenizer, toy.card(), {"stage": "train"}), tmp_path / "model")
    found = load_trained(tmp_path / "model")
    found.model.settle(torch.bfloat16)
    assert {weight.dtype for weight in found.model.parameters()} == {torch.bfloat16, torch.float32}
    assert isinstance(found.model, StockModel) and not changed(found.model, state(subject.model))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Subject(found.model, subject.tokenizer).logits(), subject.logits())


@every_family
def test_a_twin_takes_the_weights_over(name, learnt):
    """As a mean teacher does."""
    subject = learnt(name).subject
    twin = subject.model.twin()
    twin.load_state_dict(subject.model.state_dict())
    assert torch.equal(Subject(twin.eval(), subject.tokenizer).logits(), subject.logits())


def exported(subject: Subject, folder: Path) -> Path:
    """Kept, opened and exported, as the command does it."""
    save_trained(Trained(subject.model, subject.tokenizer, toy.card(), {"stage": "train"}), folder.parent / "kept")
    trained = load_trained(folder.parent / "kept")
    assert isinstance(trained.model, StockModel) and isinstance(trained.tokenizer, StockTokenizer)
    stock_folder.export(trained.model, trained.tokenizer, folder)
    return folder


def assert_said_alone(name: str, subject: Subject, folder: Path) -> None:
    """Transformers alone gives the answers that the folder's model has learnt the logits that they have here."""
    alone, logits = Alone(name, folder), subject.logits()
    rows = [(pictures()[image], each) for image, row in enumerate(subject.exchanges()) for each in row]
    own = [alone.logits(picture, each.question, each.answer) for picture, each in rows]
    torch.testing.assert_close(torch.cat(own), logits, atol=1e-4, rtol=1e-4)


@every_family
def test_an_exported_model_says_the_same(name, learnt, tmp_path):
    folder = exported(learnt(name).subject, tmp_path / "out")
    assert_said_alone(name, learnt(name).subject, folder)
    files = {path.name for path in folder.rglob("*")}
    assert not files & {"stock.json", "adapters.safetensors", "run.json", "card.json"}
    assert not {path.suffix for path in folder.rglob("*")} & {".py", ".bin", ".pt", ".pth"}


@pytest.mark.parametrize(
    ("name", "target"),
    [
        *((name, "lm_head") for name in stock.STOCK),
        *((name, "embed_tokens") for name in ("blip2-opt", "blip2-t5", "paligemma", "kosmos-2")),
        ("blip2-t5", "shared"),
    ],
)
def test_adapters_of_a_head_are_exported_or_refused(name, target, folder, tmp_path):
    """Many are the words' embeddings once more: what is added to one must not be added to the other."""
    torch.manual_seed(0)
    try:
        subject = open_folder(folder(name), **lora(name, targets=[target]))
    except VilamError:
        return
    learn(subject, 5)
    assert_said_alone(name, subject, exported(subject, tmp_path / "out"))


OPENED_ALONE = """
import sys
sys.modules["vilam"] = None  # nothing can be imported from it
from pathlib import Path
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor
for folder in map(Path, sys.argv[1:]):
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    told = folder.parent / "told" / folder.name
    with torch.no_grad():
        said = {"logits": model(**load_file(told / "inputs.safetensors")).logits.contiguous()}
    if "qwen" not in folder.name:  # its processor cannot be opened without torchvision
        processor = AutoProcessor.from_pretrained(folder)
        picture = Image.open(told / "picture.png")
        said |= processor(text=(told / "prompt.txt").read_text(), images=[picture], return_tensors="pt")
    save_file({name: value.contiguous() for name, value in said.items()}, told / "said.safetensors")
"""


def test_an_exported_model_is_opened_by_transformers_alone(learnt, tmp_path):
    """Adapters of a LLaMA, of Qwen2.5-VL and of T5 are in it; in another process, which cannot import vilam."""
    names = ["llava", "qwen2.5-vl", "blip2-t5"]
    for name in names:
        subject, told = learnt(name).subject, tmp_path / "told" / name
        exported(subject, tmp_path / name)
        packed, seen = subject.pack(), subject.see()
        inputs = dict(packed.inputs)
        if "t5" in name:
            start = torch.full((len(packed.labels), 1), subject.model.config.text_config.decoder_start_token_id)
            inputs["decoder_input_ids"] = torch.cat([start, packed.labels[:, :-1].clamp(min=0)], dim=1)
        told.mkdir(parents=True)
        save_file({key: value.contiguous() for key, value in inputs.items()}, told / "inputs.safetensors")
        pictures()[0].save(told / "picture.png")
        (told / "prompt.txt").write_text(subject.tokenizer.prompt("Where is it?", seen.frames[0]))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", OPENED_ALONE, *(str(tmp_path / name) for name in names)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in names:
        subject, said = learnt(name).subject, load_file(tmp_path / "told" / name / "said.safetensors")
        labels, seen = subject.pack().labels != -100, subject.see()
        logits = said.pop("logits")
        found = logits[labels] if "t5" in name else logits[:, :-1][labels[:, 1:]]
        torch.testing.assert_close(found, subject.logits(), atol=1e-4, rtol=1e-4)
        if said:
            made = subject.tokenizer.processed("Where is it?", seen.images[0], seen.frames[0])
            assert made.keys() == said.keys() and all(torch.equal(made[key], said[key]) for key in made)


# What cannot be opened.


def complaint(source: Path, **changes: Any) -> str:
    with pytest.raises(VilamError) as told:
        open_folder(source, **changes)
    assert "\n" not in str(told.value) and len(str(told.value)) < 500
    return str(told.value)


def test_an_architecture_that_is_not_in_the_table(folder, monkeypatch):
    monkeypatch.delitem(architectures.ARCHITECTURES, "llava")
    said = complaint(folder("llava"))
    assert said.startswith("model.checkpoint ") and "how llava counts coordinates is not known" in said


def test_a_language_model_alone(tmp_path):
    LlamaForCausalLM(LlamaConfig(**stock.LLAMA, vocab_size=50)).save_pretrained(tmp_path)
    said = complaint(tmp_path)
    assert said.startswith("model.checkpoint ") and "how llama counts coordinates is not known" in said


@every_family
def test_a_tokenizer_of_more_tokens_than_the_model_has(name, folder, tmp_path):
    shutil.copytree(folder(name), tmp_path / "model")
    tokenizer = open_processor(str(folder(name)), AutoConfig.from_pretrained(folder(name)).model_type).tokenizer
    tokenizer.add_tokens([f"<more{number}>" for number in range(5)])
    tokenizer.save_pretrained(tmp_path / "model")
    assert re.match(r"model\.checkpoint .*its tokenizer has \d+ tokens, the model \d+", complaint(tmp_path / "model"))


@every_family
def test_no_layer_of_such_a_name(name, folder):
    said = complaint(folder(name), **lora(name, targets=["query_projection"]))
    assert said.startswith("model.language.lora") and "query_projection" in said


@pytest.mark.parametrize("targets", [["fc2"], ["key"], ["linear_1"]])
def test_adapters_are_for_the_language_model(targets, folder):
    """LLaVA has such layers, but in the vision tower or the aligner."""
    assert targets[0] in complaint(folder("llava"), **lora("llava", targets=targets))


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "preprocessor_config.json", "*.safetensors"])
@pytest.mark.parametrize("name", ["blip2-opt", "llava", "qwen2.5-vl", "paligemma"])
def test_a_folder_in_which_something_is_missing(name, missing, folder, tmp_path):
    shutil.copytree(folder(name), tmp_path / "model", ignore=shutil.ignore_patterns(missing))
    assert complaint(tmp_path / "model").startswith("model.checkpoint ")


@pytest.mark.parametrize("name", ["llava", "qwen2.5-vl", "qwen3-vl", "smolvlm"])
def test_a_model_without_its_chat_template(name, folder, tmp_path):
    shutil.copytree(folder(name), tmp_path / "model", ignore=shutil.ignore_patterns("chat_template.jinja"))
    assert complaint(tmp_path / "model").startswith("model.checkpoint ")


@pytest.mark.parametrize("name", ["llava", "qwen2.5-vl", "blip2-t5"])
def test_weights_of_which_some_are_missing(name, folder, tmp_path):
    """Transformers would draw them at random, and only warn."""
    shutil.copytree(folder(name), tmp_path / "model")
    for file in (tmp_path / "model").glob("*.safetensors"):
        kept = {
            key: value for key, value in load_file(file).items() if ".layers.1." not in key and "block.1." not in key
        }
        save_file(kept, file, {"format": "pt"})
    assert complaint(tmp_path / "model").startswith("model.checkpoint ")


@pytest.mark.parametrize("source", ["", "nothing/here"])
def test_a_folder_that_is_no_checkpoint(source, tmp_path):
    assert complaint(tmp_path / source).startswith("model.checkpoint ")


def test_damaged_weights(folder, tmp_path):
    shutil.copytree(folder("llava"), tmp_path / "model")
    file = next((tmp_path / "model").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:1000])
    assert complaint(tmp_path / "model").startswith("model.checkpoint ")
