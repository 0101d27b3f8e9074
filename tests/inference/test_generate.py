"""Generation: the same with and without the cache, in a batch and one by one, constrained by the grammar."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import toy
from hybrids import HYBRIDS
from torch import Tensor

from vilam.inference.constraints import GrammarCompiler, Walker
from vilam.inference.generate import MAX_TOKENS, Answer, Request, generate
from vilam.inference.model import Model
from vilam.models.vilam.model import VilamForConditionalGeneration
from vilam.models.vilam.tokenization import GroundingTokenizer
from vilam.tasks import ALL_TASKS, TASKS
from vilam.tasks.grammar import Words

PASS_STATES = ("qwen3_5_text", "falcon_h1", "lfm2", "gemma3_text")
LANGUAGES = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256, "initializer_range": 0.2},
    "opt": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 64,
        "word_embed_proj_dim": 32,
        "max_position_embeddings": 256,
        "init_std": 0.2,
    },
    "qwen2": {**toy.LLAMA, "num_key_value_heads": 1},
    **{name: {**config, "initializer_range": 0.2} for name, config in HYBRIDS.items() if name in PASS_STATES},
}


def make(kind: str) -> VilamForConditionalGeneration:
    """A model by aligner, form of coordinates, attention or language model."""
    if kind in LANGUAGES:
        language = {"checkpoint": None, "model_type": kind, "config": LANGUAGES[kind], "frozen": False}
        return toy.model(language=language)
    if kind in ("lean", "eager", "sdpa"):
        return toy.model(attention=kind)
    if kind == "pretrained":  # with a first token, positions for patches, and separate states for words and coordinates
        model = toy.pretrained()
        assert model.grounder is not None and model.grounder.words_out is not None
        torch.nn.init.normal_(model.grounder.words_out.weight, std=0.5)
        return model
    return toy.model(coordinates="text") if kind == "text" else toy.model(aligner=kind)


def with_grammars(kind: str) -> Model:
    return toy.with_grammars(make(kind), form(kind))


def form(kind: str) -> str:
    return "text" if kind == "text" else "token"


def ask(kind: str, num_images: int = 2) -> list[Request]:
    """Questions of different lengths and tasks about several images."""
    compiled = toy.with_grammars(coordinates=form(kind)).grammars
    chosen = [each for each in toy.of_split("test") if each.task in TASKS and each.task != "rec_mask"][:40:6]
    return [Request(i % num_images, each.question, compiled[each.task]) for i, each in enumerate(chosen)]


def without_cache(model: Model, pixels: Tensor, request: Request) -> tuple[list[int], float]:
    """The most probable allowed tokens, each by a whole forward pass, and the sum of their log probabilities."""
    assert isinstance(model.tokenizer, GroundingTokenizer)
    ids = model.tokenizer.encode_question(request.question)
    length, walker, total = len(ids), Walker(request.grammar, MAX_TOKENS), 0.0
    while not walker.done:
        text = torch.tensor([ids])
        with torch.no_grad():
            logits = model.network(pixels[request.image : request.image + 1], text, torch.ones_like(text)).logits[-1]
        allowed = walker.allowed()
        scores = torch.log_softmax(logits[allowed], -1)
        best = int(scores.argmax())
        ids.append(int(allowed[best]))
        total += float(scores[best])
        walker.advance(ids[-1])
    return ids[length:], total


@pytest.mark.parametrize("kind", ["lean", "eager", "sdpa", "qformer", "resampler", "text", "pretrained", *LANGUAGES])
def test_answers_are_the_same_without_the_cache(kind):
    model, pixels, requests = with_grammars(kind), toy.pixels(2), ask(kind)
    answers = generate(model, pixels, requests)
    for request, answer in list(zip(requests, answers, strict=True))[::2]:
        ids, total = without_cache(model, pixels, request)
        assert list(answer.ids) == ids
        assert answer.confidence == pytest.approx(math.exp(total / len(ids)), rel=1e-3)


@pytest.mark.parametrize("kind", ["mlp", "text", "gpt2", "pretrained", "qwen3_5_text", "gemma3_text"])
def test_answers_are_the_same_in_a_batch_and_one_by_one(kind):
    model, pixels, requests = with_grammars(kind), toy.pixels(2), ask(kind)
    together = generate(model, pixels, requests)
    for request, answer in zip(requests, together, strict=True):
        single = Request(0, request.question, request.grammar)
        alone = generate(model, pixels[request.image : request.image + 1], [single])[0]
        assert alone.ids == answer.ids and alone.confidence == pytest.approx(answer.confidence, rel=1e-3)


@pytest.mark.parametrize("form", ["token", "text"])
@pytest.mark.parametrize("name", ALL_TASKS)
def test_every_answer_can_be_parsed(form, name):
    """The model is untrained; answers are the most probable or sampled."""
    model = toy.with_grammars(coordinates=form)
    requests = [Request(i, f"Describe {i} in [100, 200, 300, 400]", model.grammars[name], seed=i) for i in range(3)]
    for temperature in (0.0, 2.0):
        for answer in generate(model, toy.pixels(3), requests, temperature):
            assert ALL_TASKS[name].parse(answer.text, 64, 48) is not None, answer.text
            assert 0 < answer.confidence <= 1


@pytest.mark.parametrize("form", ["token", "text"])
@pytest.mark.parametrize("name", ["rec_box", "rec_every", "rec_mask", "presence"])
def test_every_coordinate_has_a_probability_of_its_own(form, name):
    model = toy.with_grammars(coordinates=form)
    requests = [Request(i, f"Where is {i}?", model.grammars[name], seed=i) for i in range(4)]
    for answer in generate(model, toy.pixels(4), requests, 1.0):
        numbers = re.findall(r"[0-9]+", answer.text.partition(":")[2] or answer.text)
        assert len(answer.coordinates) == len(numbers)
        assert all(0 < each <= 1 for each in answer.coordinates)
        # tokens that are not coordinates have a probability of 1 or less
        assert answer.probability <= math.prod(answer.coordinates) * (1 + 1e-5)
        if name == "rec_box":
            assert answer.probability == pytest.approx(math.prod(answer.coordinates), rel=1e-4)


def test_samples_depend_on_the_seed_of_their_request_alone():
    model, requests = toy.with_grammars(), ask("mlp")

    def sample(seed: int, chosen: Sequence[Request]) -> list[Answer]:
        seeded = [replace(request, seed=seed + requests.index(request)) for request in chosen]
        return generate(model, toy.pixels(2), seeded, 1.0)

    torch.manual_seed(1)
    first = sample(7, requests)
    torch.manual_seed(2)  # the seeds alone decide
    assert sample(7, requests) == first != sample(8, requests)
    # The rest of the batch and its order make no difference.
    assert [each.ids for each in sample(7, requests[::-1])] == [each.ids for each in first[::-1]]
    assert [sample(7, [request])[0].ids for request in requests] == [each.ids for each in first]


def test_words_without_digits_hold_none():
    """The model is untrained and samples at a high temperature: an expression never holds a coordinate."""
    model, compiler = toy.with_grammars(coordinates="text"), GrammarCompiler(toy.tokenizer("text"))
    texts = {}
    for digits in (True, False):
        grammar = compiler.compile(((Words(digits=digits),),))
        requests = [Request(0, "Describe [100, 200, 300, 400].", grammar, seed=i) for i in range(20)]
        answers = generate(model, toy.pixels(1), requests, 5.0)
        texts[digits] = "".join(answer.text for answer in answers)
    assert any(map(str.isdigit, texts[True])) and not any(map(str.isdigit, texts[False]))


def test_generation_changes_no_weight_mode_or_random_state():
    model = toy.model().train()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    generate(toy.with_grammars(model), toy.pixels(1), ask("mlp", 1)[:2], 0.7)
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_no_questions_give_no_answers():
    assert generate(toy.with_grammars(), toy.pixels(1), []) == []
