"""Hugging Face VLMs against transformers alone: prompts, logits, answers, training, folders, exports and errors."""

from __future__ import annotations

import copy
import itertools
import json
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

import hf_checkpoints
import numpy as np
import pytest
import torch
import toy
from hf_subjects import (
    LESSONS,
    SHORT,
    SIZES,
    THOUSANDTHS,
    Subject,
    lora,
    noise_images,
    open_folder,
    rows_of,
)
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText, LlamaConfig, LlamaForCausalLM

from vilam.errors import VilamError
from vilam.inference.constraints import GrammarCompiler, TokenGrammar, Walker
from vilam.inference.generate import Answer, Request, generate
from vilam.inference.scoring import Target, log_probabilities
from vilam.models.build import LoadedModel, load_model, save_model
from vilam.models.coordinate_formats import CoordinateFormat, Frame
from vilam.models.hf import conventions
from vilam.models.hf import folder as hf_folder
from vilam.models.hf.model import HFModel
from vilam.models.hf.processors import open_processor
from vilam.models.hf.tokenizer import HFTokenizer
from vilam.models.interface import PARTS, Turn
from vilam.tasks import ALL_TASKS
from vilam.tasks.grammar import Words

ASK_BLIP2 = "Question: {} Answer:"
ASK_QWEN = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = {
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
"""The whole text that asks a question, and the box THOUSANDTHS of the first image in it; computed by hand."""
every_model = pytest.mark.parametrize("name", hf_checkpoints.HF_CHECKPOINTS)


class Alone:
    """A checkpoint as transformers alone opens it, asked one question at a time with an explicit prompt."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.model = AutoModelForImageTextToText.from_pretrained(folder).eval()
        self.processor = open_processor(str(folder), self.model.config.model_type)
        self.tokenizer = self.processor.tokenizer

    def prompt(self, image: Image.Image, question: str) -> dict[str, Tensor]:
        """LLaVA's image is padded here, so that nothing is left to be cropped."""
        ask, region = PROMPTS[self.name]
        text = ask.format(question.replace(THOUSANDTHS, region))
        shown = padded(image) if self.name == "llava" else image
        tensors = self.processor(text=text, images=[shown], return_tensors="pt")
        return {key: value for key, value in tensors.items() if key != "labels"}

    @torch.no_grad()
    def logits(self, image: Image.Image, question: str, answer: tuple[int, ...]) -> Tensor:
        """Of the answer's tokens: (T, tokens)."""
        inputs = self.prompt(image, question)
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


def padded(image: Image.Image) -> Image.Image:
    """In the centre of a square of CLIP's mean colour."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), (122, 116, 104))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a checkpoint by its name."""
    root = tmp_path_factory.mktemp("hf")

    @cache
    def write(name: str) -> Path:
        hf_checkpoints.HF_CHECKPOINTS[name](root / name)
        return root / name

    return write


@pytest.fixture(scope="module")
def alone(folder: Callable[[str], Path]) -> Callable[[str], Alone]:
    """A checkpoint as transformers alone opens it."""
    return cache(lambda name: Alone(name, folder(name)))


@pytest.fixture(scope="module")
def opened(folder: Callable[[str], Path]) -> Callable[[str], Subject]:
    """A checkpoint as vilam opens it; for all tests, so none may change it."""
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


def sharpen(model: HFModel) -> None:
    """Makes a language model of random weights as sure of a token as trained ones are: four times its last norm."""
    ends = [
        module
        for name, module in model.vlm.named_modules()
        if "norm" in name.rpartition(".")[2] and not re.search("layers|block|vision|visual|qformer", name)
    ]
    with torch.no_grad():
        zero = 1.0 if "Gemma" in type(ends[-1]).__name__ else 0.0  # Gemma adds it to the weight
        ends[-1].weight.add_(zero).mul_(4.0).sub_(zero)


class Learnt(NamedTuple):
    """A model that has learnt LESSONS, its state before, and its losses on the way."""

    subject: Subject
    before: dict[str, Tensor]
    losses: list[float]


def state(model: HFModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(model: HFModel, before: dict[str, Tensor]) -> set[str]:
    """Names of the weights that have changed, as in the checkpoint."""
    after = model.state_dict()
    assert after.keys() == before.keys()
    return {name.removeprefix("vlm.") for name, value in after.items() if not torch.equal(value, before[name])}


@pytest.fixture(scope="module")
def learnt(folder: Callable[[str], Path]) -> Callable[[str], Learnt]:
    """A model with adapters, trained together with its aligner; for all tests, so none may change it."""

    def make(name: str) -> Learnt:
        torch.manual_seed(0)
        subject = open_folder(folder(name), **lora(name))
        sharpen(subject.model)
        before = state(subject.model)
        return Learnt(subject, before, learn(subject, 100, until=0.05, rate=0.005 if "t5" in name else 0.02))

    return cache(make)


# Prompts, logits, losses.


@every_model
def test_a_question_has_the_model_s_own_prompt_and_coordinates(name, opened, alone):
    model, tokenizer = opened(name)
    images = model.preprocess(noise_images())
    ask, region = PROMPTS[name]
    question = f"What is in {THOUSANDTHS}, or {{}}?"
    prompt = tokenizer.prompt(question, images.frames[0])
    assert prompt == ask.replace("{}", question.replace(THOUSANDTHS, region))
    found = tokenizer.process(question, images.images[0], images.frames[0])
    own = alone(name).prompt(noise_images()[0], question)
    assert found.keys() == own.keys()
    assert all(torch.equal(found[key], own[key]) for key in own.keys() - {"pixel_values"})
    torch.testing.assert_close(found["pixel_values"], own["pixel_values"])


@every_model
def test_packed_answers_have_the_logits_that_transformers_computes_for_each_alone(name, opened, alone):
    turns = [(image, turn) for image, row in enumerate(opened(name).turns()) for turn in row]
    own = [alone(name).logits(noise_images()[image], turn.question, turn.answer) for image, turn in turns]
    logits = opened(name).logits()
    assert float(logits.std()) > 0.5
    torch.testing.assert_close(logits, torch.cat(own), atol=1e-4, rtol=1e-4)


@every_model
def test_the_loss_is_the_weighted_cross_entropy_of_the_answers(name, opened):
    packed = opened(name).pack()
    answers = [ids for row in opened(name).turns() for each in row for ids in each.answer]
    assert packed.labels[packed.labels != -100].tolist() == answers
    weights = torch.rand(packed.labels.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = opened(name).model(**packed.inputs, labels=packed.labels, weights=weights)
    losses = nn.functional.cross_entropy(output.logits, torch.tensor(answers), reduction="none")
    own = weights[packed.labels != -100]
    torch.testing.assert_close(output.loss, (losses * own).sum() / own.sum())


@every_model
def test_log_probabilities_are_those_of_each_answer_alone(name, opened, alone):
    subject = opened(name)
    preprocess = subject.model.preprocess
    targets = [Target(i, turn.question, turn.answer) for i, row in enumerate(subject.turns()) for turn in row][::-1]
    known = log_probabilities(subject.for_inference(), preprocess(noise_images()), targets)
    for each, found in zip(targets, known, strict=True):
        logits = alone(name).logits(noise_images()[each.image], each.question, each.ids)
        own = logits.log_softmax(-1)[torch.arange(len(each.ids)), torch.tensor(each.ids)]
        assert list(found) == pytest.approx(own.tolist(), abs=1e-4)
        single = log_probabilities(
            subject.for_inference(), preprocess([noise_images()[each.image]]), [replace(each, image=0)]
        )
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


NUMBER = r"[0-9]+(?:\.[0-9]+)?"


def numbers(text: str) -> list[float]:
    return [float(number) for group in re.findall(r"\[[^a-z]*\]", text) for number in re.findall(NUMBER, group)]


@every_model
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("image", range(len(SIZES)))
def test_an_answer_can_be_read_back(name, answer, image, opened):
    model, tokenizer = opened(name)
    frame = model.preprocess(noise_images()).frames[image]
    ids = tokenizer.encode_answer(answer, frame)
    assert ids[-1] == tokenizer.eos_id and tokenizer.eos_id not in ids[:-1]
    back = tokenizer.decode_answer(ids, frame)
    assert re.sub(NUMBER, "0", back) == re.sub(NUMBER, "0", answer)
    # Half a bin of the format; for a box of cells, a whole cell.
    width, height = SIZES[image]
    bins = {
        "llava": (100 * width / max(width, height), 100 * height / max(width, height)),
        "qwen2.5-vl": (frame.width, frame.height),
        "paligemma": (1023, 1023),
        "kosmos-2": (16, 16),
    }.get(name, (1000, 1000))
    for index, (found, true) in enumerate(zip(numbers(back), numbers(answer), strict=True)):
        exact = bins[index % 2] == 1000
        assert abs(found - true) <= (0 if exact else 500 / bins[index % 2] + 1e-3), back


def special(tokenizer: HFTokenizer) -> list[str]:
    """Tokens that must never come from a user's text; one of many numbered ones."""
    names = tokenizer.tokenizer.get_added_vocab()
    known = [each for each in names if not re.search("[0-9]", each) or "0007" in each or "1_col_1" in each]
    return [*known, "<|placeholder|>", "<image>", "<|image_pad|>", "<|im_end|>", "</s>", "<eos>", "[SEP]"]


def specials_of(tokenizer: Any, ids: Iterable[int]) -> list[int]:
    """The ids of special tokens; the unknown token does not count."""
    watched = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()} - {tokenizer.unk_token_id}
    return [i for i in ids if i in watched]


@every_model
def test_no_special_token_comes_from_a_question(name, opened):
    """Also if one special token is inside another."""
    model, tokenizer = opened(name)
    images = model.preprocess(noise_images())

    def found(question: str) -> list[list[int]]:
        tensors = tokenizer.process(question, images.images[0], images.frames[0])
        texts = {"input_ids": tokenizer.tokenizer}
        if "qformer_input_ids" in tensors:
            texts["qformer_input_ids"] = tokenizer.processor.qformer_tokenizer
        return [specials_of(each, tensors[key][0].tolist()) for key, each in texts.items()]

    plain = found("Where is it?")
    for token in special(tokenizer):
        half = len(token) // 2
        nested = token[:half] + token + token[half:]
        twice = token[:half] + nested + token[half:]
        assert found(f"Where is {token}{token} a {token} or {nested} or {twice}?") == plain, token


@every_model
def test_no_special_token_comes_from_an_answer(name, opened):
    """Except for the end of the sequence and the tokens of coordinates."""
    model, tokenizer = opened(name)
    frame = model.preprocess(noise_images()).frames[0]

    def found(answer: str) -> list[int]:
        return specials_of(tokenizer.tokenizer, tokenizer.encode_answer(answer, frame))

    for token in special(tokenizer):
        for form in ("{}", "a {} b", f"{THOUSANDTHS}{{}}", f"{{}} {THOUSANDTHS} {{}} b"):
            assert found(form.format(token, token)) == found(form.format("a", "a")), form.format(token, token)


# Images.


@pytest.mark.parametrize("size", [(100, 70), (37, 91), (56, 56), (700, 30), (9, 640), (1500, 1100)])
def test_the_frame_of_qwen_is_the_resized_image(size, opened):
    model, tokenizer = opened("qwen2.5-vl")
    image = noise_images()[0].resize(size)
    frame = model.preprocess([image]).frames[0]
    _, rows, columns = tokenizer.process("Where?", image, frame)["image_grid_thw"][0].tolist()
    assert (frame.width, frame.height) == (columns * hf_checkpoints.PATCH, rows * hf_checkpoints.PATCH)
    assert frame.image == (0, 0, frame.width, frame.height)


@pytest.mark.parametrize("size", [(100, 70), (37, 91), (56, 56), (200, 20), (11, 300)])
def test_llava_gets_the_whole_image_in_a_square(size, opened):
    """The image is white, so that it differs from the square, and its corners are inside."""
    model, tokenizer = opened("llava")
    image = Image.new("RGB", size, "white")
    frame = model.preprocess([image]).frames[0]
    pixels = tokenizer.process("Where?", image, frame)["pixel_values"][0]
    images = tokenizer.processor.image_processor
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (images.image_mean, images.image_std))
    shades = (pixels * std + mean) * 255
    wanted = np.asarray(padded(image).resize((hf_checkpoints.SIZE, hf_checkpoints.SIZE), Image.Resampling.BICUBIC))
    assert shades.shape == (3, hf_checkpoints.SIZE, hf_checkpoints.SIZE)
    assert (shades - torch.from_numpy(wanted.copy()).permute(2, 0, 1)).abs().max() < 1.5
    left, top, right, bottom = (round(side * hf_checkpoints.SIZE / frame.width) for side in frame.image)
    white = (shades > 250).all(0)
    assert white[top + 2 : bottom - 2, left + 2 : right - 2].all()
    if size[0] != size[1]:
        assert not white[0, 0] and not white[-1, -1]
        torch.testing.assert_close(shades[:, 0, 0], torch.tensor([122.0, 116.0, 104.0]), atol=0.6, rtol=0)


@every_model
@pytest.mark.parametrize("size", [(1, 1), (3, 50), (50, 3), (1, 90), (190, 1), (900, 8)])
def test_images_of_odd_sizes_are_processed(name, size, opened):
    model, tokenizer = opened(name)
    images = model.preprocess([Image.new("RGB", size, "red")])
    ids = tuple(tokenizer.encode_answer("[100, 200, 300, 400]", images.frames[0]))
    packed = model.pack(tokenizer, images, [[Turn("Where?", ids)]])
    pixels = packed.inputs["pixel_values"]
    with torch.no_grad():
        assert model(**packed.inputs, labels=packed.labels).loss.isfinite()
    if "qwen" not in name:  # red, so its dimensions are not confused with channels
        assert pixels.shape[-3] == 3
        red, green = pixels[..., 0, :, :], pixels[..., 1, :, :]
        assert (red - green).max() > 0.5


@pytest.mark.parametrize("name", ["qwen2.5-vl", "qwen3-vl"])
def test_an_image_that_is_too_thin_for_qwen_is_refused(name, opened):
    model, tokenizer = opened(name)
    with pytest.raises(VilamError, match=r"^an image of 1 x 300: .*aspect ratio.*: leave it out$"):
        images = model.preprocess([Image.new("RGB", (1, 300))])
        tokenizer.process("Where?", images.images[0], images.frames[0])


# Answers.


@pytest.fixture(scope="module")
def compiled(opened: Callable[[str], Subject]) -> Callable[[str], dict[str, TokenGrammar]]:
    """A model's grammars by task: masks of one part and two boxes only, and words without digits."""

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


MORE = ((0, "words", "Say."), (1, "words", "Write."), (2, "rec_box", "There?"))
MASK = (1, "rec_mask", "Segment it.")
MASKED = {"blip2-t5", "llava", "qwen2.5-vl", "paligemma", "kosmos-2"}
"""Models that are asked for a mask, which takes as long as all other answers: one for each coordinate format."""


class Answered(NamedTuple):
    """A request of a task, the batch's answer to it, and the image's frame."""

    task: str
    request: Request
    answer: Answer
    frame: Frame


@pytest.fixture(scope="module")
def answered(
    opened: Callable[[str], Subject], compiled: Callable[[str], dict[str, TokenGrammar]]
) -> Callable[..., Any]:
    """A model's answers to a batch of QUESTIONS; if they are sampled, to MORE."""

    def answer(name: str, temperature: float) -> list[Answered]:
        questions = QUESTIONS + (MORE if temperature else ()) + ((MASK,) if temperature and name in MASKED else ())
        images = opened(name).preprocess()
        requests = [
            Request(image, text, compiled(name)[task], seed) for seed, (image, task, text) in enumerate(questions)
        ]
        answers = generate(opened(name).for_inference(), images, requests, temperature, SHORT)
        frames = [images.frames[request.image] for request in requests]
        tasks = [task for _, task, _ in questions]
        return [Answered(*each) for each in zip(tasks, requests, answers, frames, strict=True)]

    return cache(answer)


def under_the_grammar(alone: Alone, coordinate_format: CoordinateFormat, one: Answered) -> float:
    """The geometric mean of the probabilities of its tokens among those that were allowed, by one whole pass."""
    logits = alone.logits(noise_images()[one.request.image], one.request.question, one.answer.ids)
    walker, total = Walker(one.request.grammar, SHORT, coordinate_format.bounds(one.frame)), 0.0
    for row, token in zip(logits, one.answer.ids, strict=True):
        total += float(row[token] - row[walker.allowed()].logsumexp(0))
        walker.advance(token)
    assert walker.done
    return math.exp(total / len(one.answer.ids))


@every_model
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_batch_has_the_answers_of_one_by_one(name, temperature, opened, answered):
    images = opened(name).preprocess()
    for _, request, answer, _ in answered(name, temperature)[: len(QUESTIONS)]:
        single = replace(request, image=0)
        own = generate(opened(name).for_inference(), images[[request.image]], [single], temperature, SHORT)[0]
        assert own.ids == answer.ids and own.text == answer.text
        assert own.confidence == pytest.approx(answer.confidence, abs=1e-5)


@every_model
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_confidence_of_an_answer_is_that_of_transformers_alone(name, temperature, opened, alone, answered):
    for one in answered(name, temperature):
        own = under_the_grammar(alone(name), opened(name).tokenizer.coordinate_format, one)
        assert one.answer.confidence == pytest.approx(own, abs=1e-5)


@every_model
def test_every_sampled_answer_can_be_read(name, opened, answered):
    """Also those of an untrained model; its words are none of those that the grammar forbids."""
    tokenizer = opened(name).tokenizer
    for task, request, answer, _ in answered(name, 1.0):
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
def test_generation_settings_of_a_checkpoint_change_no_answer(name, folder, answered):
    """Qwen2.5-VL's have a repetition penalty."""
    subject = open_folder(folder(name))
    subject.model.vlm.generation_config.update(repetition_penalty=1.05, do_sample=True, temperature=0.1, top_k=1)
    requests = [one.request for one in answered(name, 0.0)]
    answers = generate(subject.for_inference(), subject.preprocess(), requests, 0.0, SHORT)
    assert answers == [one.answer for one in answered(name, 0.0)]


# Training.

ALIGNER = re.compile(
    "query_tokens|qformer|language_projection|multi_modal_projector|merger|connector|image_to_text_projection"
)


@every_model
def test_only_the_alignment_layer_learns_beside_frozen_parts(name, folder):
    """Nothing else changes: vision tower and language model stay bit for bit the same."""
    subject = open_folder(folder(name))
    sharpen(subject.model)
    before = state(subject.model)
    assert {each for each, weight in subject.model.vlm.named_parameters() if weight.requires_grad} == {
        each for each, _ in subject.model.vlm.named_parameters() if ALIGNER.search(each)
    }
    losses = learn(subject, 10, rate=0.02)
    assert losses[-1] < 0.9 * losses[0]
    found = changed(subject.model, before)
    assert found and all(map(ALIGNER.search, found))


@every_model
def test_adapters_learn_by_heart_beside_frozen_layers(name, learnt):
    """Together with the aligner: the aligner alone cannot, in a tiny model of random weights."""
    subject, before, losses = learnt(name)
    assert losses[0] > 2 and losses[-1] < 0.05
    found = changed(subject.model, before)
    assert all("lora_" in each or ALIGNER.search(each) for each in found)
    assert {each for each in found if "lora_" in each} == {
        each.removeprefix("vlm.") for each in before if "lora_" in each
    }
    assert any(map(ALIGNER.search, found))


@every_model
def test_a_whole_language_model_learns_beside_a_frozen_tower(name, folder):
    subject = open_folder(folder(name), model__language__frozen=False)
    before = state(subject.model)
    losses = learn(subject, 10)
    assert losses[-1] < 0.5 * losses[0]
    found = changed(subject.model, before)
    assert any(map(ALIGNER.search, found)) and not all(map(ALIGNER.search, found))
    assert not any(re.search("vision|visual", each) and not ALIGNER.search(each) for each in found)


@every_model
def test_frozen_parts_stay_in_evaluation_mode_and_adapters_do_not(name, folder):
    model = open_folder(folder(name), **lora(name, dropout=0.5)).model.train()
    modes = {each: module.training for each, module in model.vlm.named_modules() if each}
    assert {each for each, mode in modes.items() if mode} == {
        each for each in modes if ALIGNER.search(each) or "lora_" in each
    }
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout) and module.training]
    assert any(module.p == 0.5 for module in dropouts)
    assert not any(module.training for module in model.eval().modules())


def freezings() -> list[tuple[tuple[str, ...], bool]]:
    """Every choice of frozen parts, without and with adapters beside a frozen language model; something is trained."""
    chosen = [frozen for count in range(4) for frozen in itertools.combinations(PARTS, count)]
    both = [(frozen, adapted) for frozen in chosen for adapted in (False, True)]
    return [(frozen, adapted) for frozen, adapted in both if ("language" in frozen if adapted else len(frozen) < 3)]


@every_model
def test_every_choice_of_frozen_parts_trains_in_half_precision(name, opened):
    """Nearly with the loss and the gradients of float32; without dropout."""
    plain, adapters = opened(name), lora(name)["model__language__lora"]
    packed = plain.pack(LESSONS)

    def train(frozen: tuple[str, ...], adapted: bool, dtype: torch.dtype) -> tuple[float, dict[str, Tensor]]:
        torch.manual_seed(0)  # for the adapters
        vlm, settings = copy.deepcopy(plain.model.vlm), adapters if adapted else None
        model = HFModel(vlm, plain.tokenizer.processor, frozen, settings).eval()
        model.cast_frozen(dtype)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = model(**packed.inputs, labels=packed.labels).loss
        loss.backward()
        weights = {key: weight for key, weight in model.named_parameters() if weight.requires_grad}
        assert all(weight.dtype == torch.float32 for weight in weights.values())
        return loss.item(), {key: weight.grad.flatten() for key, weight in weights.items() if weight.grad is not None}

    wanted = {adapted: train(("language",) if adapted else (), adapted, torch.float32) for adapted in (False, True)}
    for frozen, adapted in freezings():
        loss, found = train(frozen, adapted, torch.bfloat16)
        assert loss == pytest.approx(wanted[adapted][0], rel=0.02), (frozen, adapted)
        exact = torch.cat([wanted[adapted][1][key] for key in found])
        assert nn.functional.cosine_similarity(exact, torch.cat([*found.values()]), dim=0) > 0.9, (frozen, adapted)


def gradients(subject: Subject) -> dict[str, Tensor]:
    packed = subject.pack(LESSONS)
    subject.model.train()
    torch.manual_seed(0)  # for the dropout
    subject.model(**packed.inputs, labels=packed.labels).loss.backward()
    return {each: weight.grad for each, weight in subject.model.named_parameters() if weight.grad is not None}


@every_model
@pytest.mark.parametrize("adapted", [True, False])
def test_gradient_checkpointing_gives_the_same_gradients(name, adapted, folder):
    """Each layer of the language model computes twice, also if it is frozen beside adapters."""
    torch.manual_seed(1)
    subject = open_folder(folder(name), **(lora(name, dropout=0.5) if adapted else {"model__language__frozen": False}))
    subject = rows_of(subject)  # sharing would draw other dropout
    wanted = gradients(Subject(copy.deepcopy(subject.model), subject.tokenizer))
    subject.model.enable_gradient_checkpointing()
    calls: Counter[str] = Counter()
    for each, module in subject.model.vlm.named_modules():
        if re.search(r"(q_proj|\.q)$", each) and subject.model.architecture.part(each) == "language":
            module.register_forward_hook(lambda *_, key=each: calls.update([key]))
    found = gradients(subject)
    assert wanted.keys() == found.keys()
    for each, gradient in wanted.items():
        torch.testing.assert_close(found[each], gradient, atol=1e-6, rtol=1e-4)
    assert {*calls.values()} == {2}


# Folders.


@pytest.mark.parametrize(
    ("name", "adapted"),
    [*((name, True) for name in hf_checkpoints.HF_CHECKPOINTS), ("qwen3-vl", False), ("instructblip-t5", False)],
)
def test_a_saved_model_is_opened_bit_for_bit(name, adapted, learnt, folder, tmp_path):
    whole = {"model__freeze_aligner": True, "model__language__frozen": False}
    subject = learnt(name).subject if adapted else open_folder(folder(name), **whole)
    save_model(LoadedModel(subject.model, subject.tokenizer, toy.card(), {"stage": "train"}), tmp_path / "model")
    found = load_model(tmp_path / "model")
    assert isinstance(found.network, HFModel) and isinstance(found.tokenizer, HFTokenizer)
    assert not changed(found.network, state(subject.model))
    assert torch.equal(Subject(found.network, found.tokenizer).logits(), subject.logits())
    frozen = [
        {each: weight.requires_grad for each, weight in m.named_parameters()} for m in (found.network, subject.model)
    ]
    assert frozen[0] == frozen[1] and any(frozen[0].values())
    assert not {path.suffix for path in (tmp_path / "model").rglob("*")} & {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
    assert (tmp_path / "model" / "adapters.safetensors").exists() == adapted
    for image, frame in zip(noise_images(), subject.preprocess().frames, strict=True):
        before, after = (each.process("Where?", image, frame) for each in (subject.tokenizer, found.tokenizer))
        assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", ["blip2-t5", "llava", "paligemma"])
def test_a_model_held_in_half_precision_is_saved(name, folder, tmp_path):
    torch.manual_seed(0)
    subject = open_folder(folder(name), **lora(name))
    learn(subject, 5)
    subject.model.cast_frozen(torch.bfloat16)
    save_model(LoadedModel(subject.model, subject.tokenizer, toy.card(), {"stage": "train"}), tmp_path / "model")
    found = load_model(tmp_path / "model")
    found.network.cast_frozen(torch.bfloat16)
    assert {weight.dtype for weight in found.network.parameters()} == {torch.bfloat16, torch.float32}
    assert isinstance(found.network, HFModel) and not changed(found.network, state(subject.model))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Subject(found.network, subject.tokenizer).logits(), subject.logits())


@every_model
def test_a_new_model_like_another_loads_its_weights(name, learnt):
    """As a mean teacher does."""
    subject = learnt(name).subject
    new_like = subject.model.new_like()
    new_like.load_state_dict(subject.model.state_dict())
    assert torch.equal(Subject(new_like.eval(), subject.tokenizer).logits(), subject.logits())


def exported(subject: Subject, folder: Path) -> Path:
    """Saves, loads and exports a model, as the command does."""
    save_model(LoadedModel(subject.model, subject.tokenizer, toy.card(), {"stage": "train"}), folder.parent / "saved")
    loaded = load_model(folder.parent / "saved")
    assert isinstance(loaded.network, HFModel) and isinstance(loaded.tokenizer, HFTokenizer)
    hf_folder.export(loaded.network, loaded.tokenizer, folder)
    return folder


def assert_same_logits_alone(name: str, subject: Subject, folder: Path) -> None:
    """Transformers alone computes the subject's logits from the folder."""
    alone, logits = Alone(name, folder), subject.logits()
    turns = [(noise_images()[image], turn) for image, row in enumerate(subject.turns()) for turn in row]
    own = [alone.logits(image, turn.question, turn.answer) for image, turn in turns]
    torch.testing.assert_close(torch.cat(own), logits, atol=1e-4, rtol=1e-4)


@every_model
def test_an_exported_model_has_the_same_logits(name, learnt, tmp_path):
    folder = exported(learnt(name).subject, tmp_path / "out")
    assert_same_logits_alone(name, learnt(name).subject, folder)
    files = {path.name for path in folder.rglob("*")}
    assert not files & {"vilam_hf.json", "adapters.safetensors", "run.json", "card.json"}
    assert not {path.suffix for path in folder.rglob("*")} & {".py", ".bin", ".pt", ".pth"}


@pytest.mark.parametrize(
    ("name", "target"),
    [
        *((name, "lm_head") for name in hf_checkpoints.HF_CHECKPOINTS),
        *((name, "embed_tokens") for name in ("blip2-opt", "blip2-t5", "paligemma", "kosmos-2")),
        ("blip2-t5", "shared"),
    ],
)
def test_adapters_of_a_head_are_exported_or_refused(name, target, folder, tmp_path):
    """Many heads are the word embeddings too: what is added to one must not be added to the other."""
    torch.manual_seed(0)
    try:
        subject = open_folder(folder(name), **lora(name, targets=[target]))
    except VilamError:
        return
    learn(subject, 5)
    assert_same_logits_alone(name, subject, exported(subject, tmp_path / "out"))


VIDEOS = {"qwen2.5-vl", "qwen3-vl", "smolvlm"}
"""Models whose whole processor needs torchvision; SmolVLM's needs num2words too."""
PYTHONS = [sys.executable, *filter(None, os.environ.get("VILAM_TEST_PYTHONS", "").split(os.pathsep))]
"""Interpreters that open exports: this one, and those of other environments with transformers."""


@pytest.fixture(scope="module")
def asked(learnt: Callable[[str], Learnt], folder: Callable[[str], Path], tmp_path_factory: Any) -> Path:
    """A folder for each model, as opened_alone.py takes it; every question was learnt by heart."""
    root = tmp_path_factory.mktemp("alone")
    for name in hf_checkpoints.HF_CHECKPOINTS:
        subject = learnt(name).subject
        exported(subject, root / name / "model")
        (root / name / "checkpoint").symlink_to(folder(name))
        frames, own = subject.preprocess().frames, subject.tokenizer
        questions = [(image, own.coordinate_format.encode(text, frames[image])) for image, text, _ in LESSONS]
        prompt = own.architecture.convention.prompt
        (root / name / "asked.json").write_text(
            json.dumps([(f"{image}.png", text, prompt) for image, text in questions])
        )
        for number, image in enumerate(noise_images()):
            image.save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize("python", PYTHONS)
def test_transformers_alone_opens_an_export_and_gives_the_same_answers(python, asked, learnt):
    """In another process, which cannot import vilam."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [python, str(Path(__file__).with_name("opened_alone.py")), *(str(asked / name) for name in PROMPTS)]
    done = subprocess.run(command, env=environment, cwd=asked, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    grammars = {task: ALL_TASKS[task].grammar(toy.card()) for task in ("rec_box", "reg_caption")}
    for name in PROMPTS:
        subject, alone = learnt(name).subject, json.loads((asked / name / "answered.json").read_text())
        images, compiler = subject.preprocess(), GrammarCompiler(subject.tokenizer)
        compiled = {task: compiler.compile(grammar) for task, grammar in grammars.items()}
        tasks = ["rec_box" if answer.startswith("[") else "reg_caption" for _, _, answer in LESSONS]
        requests = [Request(image, text, compiled[task]) for (image, text, _), task in zip(LESSONS, tasks, strict=True)]
        answers = generate(subject.for_inference(), images, requests, 0.0, 64)
        own = [subject.tokenizer.decode_answer(answer.ids) for answer in answers]
        assert alone["answers"] == own, name
        frames, encode = images.frames, subject.tokenizer.encode_answer
        lessons = [subject.tokenizer.decode_answer(encode(answer, frames[image])) for image, _, answer in LESSONS]
        assert sum(map(str.__eq__, own, lessons)) >= 3, name
        is_whole = name not in VIDEOS or (alone["torchvision"] and (name != "smolvlm" or alone["num2words"]))
        assert (alone["error"] is None) == is_whole, alone["error"]
        tensors = load_file(asked / name / "inputs.safetensors")
        wanted = subject.tokenizer.process(LESSONS[0][1], images.images[0], images.frames[0])
        assert wanted.keys() == tensors.keys()
        for key, value in wanted.items():  # torchvision resizes pictures its own way
            near = 0.1 if alone["torchvision"] and key == "pixel_values" else 0.0
            torch.testing.assert_close(tensors[key], value, atol=near, rtol=0)


# Checkpoints that cannot be opened.


def message(source: Path, **changes: Any) -> str:
    with pytest.raises(VilamError) as caught:
        open_folder(source, **changes)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    return str(caught.value)


def test_an_architecture_that_is_not_in_the_table_is_refused(folder, monkeypatch):
    files = conventions.convention_files(Path())
    monkeypatch.setattr(conventions, "convention_files", lambda root: {k: v for k, v in files.items() if k != "llava"})
    text = message(folder("llava"))
    assert text.startswith("model.checkpoint ") and "the coordinate format of llava is not known" in text


def test_a_language_model_without_vision_is_refused(tmp_path):
    LlamaForCausalLM(LlamaConfig(**hf_checkpoints.LLAMA, vocab_size=50)).save_pretrained(tmp_path)
    text = message(tmp_path)
    assert text.startswith("model.checkpoint ") and "the coordinate format of llama is not known" in text


@every_model
def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(name, folder, tmp_path):
    shutil.copytree(folder(name), tmp_path / "model")
    tokenizer = open_processor(str(folder(name)), AutoConfig.from_pretrained(folder(name)).model_type).tokenizer
    tokenizer.add_tokens([f"<more{number}>" for number in range(5)])
    tokenizer.save_pretrained(tmp_path / "model")
    assert re.match(r"model\.checkpoint .*its tokenizer has \d+ tokens, the model \d+", message(tmp_path / "model"))


@every_model
def test_lora_targets_that_match_no_layer_are_refused(name, folder):
    text = message(folder(name), **lora(name, targets=["query_projection"]))
    assert text.startswith("model.language.lora") and "query_projection" in text


@pytest.mark.parametrize("targets", [["fc2"], ["key"], ["linear_1"]])
def test_adapters_are_for_the_language_model_only(targets, folder):
    """LLaVA has such layers, but in the vision tower or the aligner."""
    assert targets[0] in message(folder("llava"), **lora("llava", targets=targets))


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "preprocessor_config.json", "*.safetensors"])
@pytest.mark.parametrize("name", ["blip2-opt", "llava", "qwen2.5-vl", "paligemma"])
def test_a_folder_with_a_missing_file_is_refused(name, missing, folder, tmp_path):
    shutil.copytree(folder(name), tmp_path / "model", ignore=shutil.ignore_patterns(missing))
    assert message(tmp_path / "model").startswith("model.checkpoint ")


@pytest.mark.parametrize("name", ["llava", "qwen2.5-vl", "qwen3-vl", "smolvlm"])
def test_a_model_without_its_chat_template_is_refused(name, folder, tmp_path):
    shutil.copytree(folder(name), tmp_path / "model", ignore=shutil.ignore_patterns("chat_template.jinja"))
    assert message(tmp_path / "model").startswith("model.checkpoint ")


@pytest.mark.parametrize("name", ["llava", "qwen2.5-vl", "blip2-t5"])
def test_a_checkpoint_with_missing_weights_is_refused(name, folder, tmp_path):
    """Transformers would fill them at random, and only warn."""
    shutil.copytree(folder(name), tmp_path / "model")
    for file in (tmp_path / "model").glob("*.safetensors"):
        kept = {
            key: value for key, value in load_file(file).items() if ".layers.1." not in key and "block.1." not in key
        }
        save_file(kept, file, {"format": "pt"})
    assert message(tmp_path / "model").startswith("model.checkpoint ")


@pytest.mark.parametrize("source", ["", "nothing/here"])
def test_a_folder_that_is_no_checkpoint_is_refused(source, tmp_path):
    assert message(tmp_path / source).startswith("model.checkpoint ")


def test_damaged_weights_are_refused(folder, tmp_path):
    shutil.copytree(folder("llava"), tmp_path / "model")
    file = next((tmp_path / "model").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:1000])
    assert message(tmp_path / "model").startswith("model.checkpoint ")


# Pixels.


@pytest.mark.parametrize("name", ["qwen2.5-vl", "qwen3-vl"])
def test_a_picture_has_as_many_tokens_as_the_pixels_allow(name, folder, tmp_path):
    """A photograph of 12 megapixels too, in the saved model as well; its frame is the resized picture."""
    photograph = Image.new("RGB", (4000, 3000), "red")
    for most in (64 * 64, 10 * 64 * 64):
        subject = open_folder(folder(name), model__min_pixels=64 * 64, model__max_pixels=most)
        save_model(LoadedModel(subject.model, subject.tokenizer, toy.card(), {}), tmp_path / f"{most}")
        for tokenizer in (subject.tokenizer, load_model(tmp_path / f"{most}").tokenizer):
            frame = subject.model.preprocess([photograph]).frames[0]
            grid = tokenizer.process("Where?", photograph, frame)["image_grid_thw"][0]
            side = subject.model.config.vision_config.patch_size
            assert most * 0.3 < grid.prod() * side**2 <= most
            if name == "qwen2.5-vl":
                assert (frame.width, frame.height) == (int(grid[2]) * side, int(grid[1]) * side)


@pytest.mark.parametrize(
    ("name", "pixels", "problem"),
    [
        ("llava", (None, 10_000), "LlavaImageProcessorPil takes no number of pixels"),
        ("qwen2.5-vl", (10_000_000, None), "10000000 to 12544 pixels: set both"),
    ],
)
def test_pixels_that_cannot_be_are_refused(name, pixels, problem, folder):
    with pytest.raises(VilamError, match=problem):
        open_folder(folder(name), model__min_pixels=pixels[0], model__max_pixels=pixels[1])
