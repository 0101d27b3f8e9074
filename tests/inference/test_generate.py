"""Generation: with the cache as without it, a batch as one by one, held to the grammar."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import toy
from torch import Tensor

from vilam.inference.generate import MAX_WORDS, Answer, Request, generate
from vilam.models.constraints import GrammarCompiler, TokenGrammar, Walker
from vilam.models.vilam import VilamForConditionalGeneration
from vilam.tasks import ALL_TASKS, TASKS
from vilam.tasks.grammar import Words

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
}


def make(kind: str) -> VilamForConditionalGeneration:
    """A model by aligner, form of coordinates, attention or language model."""
    if kind in LANGUAGES:
        language = {"checkpoint": None, "model_type": kind, "config": LANGUAGES[kind], "frozen": False}
        return toy.model(language=language)
    if kind in ("lean", "eager", "sdpa"):
        return toy.model(attention=kind)
    if kind == "pretrained":  # it reads a first token, counts the patches, and looks for words and places apart
        model = toy.pretrained()
        assert model.grounder is not None and model.grounder.words_out is not None
        torch.nn.init.normal_(model.grounder.words_out.weight, std=0.5)
        return model
    return toy.model(coordinates="text") if kind == "text" else toy.model(aligner=kind)


def grammars(kind: str) -> dict[str, TokenGrammar]:
    compiler = GrammarCompiler(toy.tokenizer("text" if kind == "text" else "token"))
    return {name: compiler.compile(task.grammar(toy.card())) for name, task in ALL_TASKS.items()}


def ask(kind: str, num_images: int = 2) -> list[Request]:
    """Questions of different lengths and tasks about several images."""
    compiled = grammars(kind)
    chosen = [each for each in toy.of_split("test") if each.task in TASKS and each.task != "rec_mask"][:40:6]
    return [Request(i % num_images, each.question, compiled[each.task]) for i, each in enumerate(chosen)]


def without_cache(
    model: VilamForConditionalGeneration, form: str, pixels: Tensor, request: Request
) -> tuple[list[int], float]:
    """The likeliest allowed token again and again, by whole forward passes; and the sum of log probabilities."""
    tokenizer = toy.tokenizer(form)
    ids = tokenizer.encode_question(request.question)
    asked, walker, total = len(ids), Walker(request.grammar, MAX_WORDS), 0.0
    while not walker.done:
        text = torch.tensor([ids])
        with torch.no_grad():
            logits = model(pixels[request.image : request.image + 1], text, torch.ones_like(text)).logits[-1]
        allowed = walker.allowed()
        scores = torch.log_softmax(logits[allowed], -1)
        best = int(scores.argmax())
        ids.append(int(allowed[best]))
        total += float(scores[best])
        walker.advance(ids[-1])
    return ids[asked:], total


@pytest.mark.parametrize("kind", ["lean", "eager", "sdpa", "qformer", "resampler", "text", "pretrained", *LANGUAGES])
def test_with_the_cache_as_without(kind):
    model, form = make(kind), "text" if kind == "text" else "token"
    pixels, requests = toy.pixels(2), ask(kind)
    answers = generate(model, toy.tokenizer(form), pixels, requests)
    for request, answer in list(zip(requests, answers, strict=True))[::2]:
        ids, total = without_cache(model, form, pixels, request)
        assert list(answer.ids) == ids
        assert answer.confidence == pytest.approx(math.exp(total / len(ids)), rel=1e-3)


@pytest.mark.parametrize("kind", ["mlp", "text", "gpt2", "pretrained"])
def test_a_batch_as_one_by_one(kind):
    model, tokenizer = make(kind), toy.tokenizer("text" if kind == "text" else "token")
    pixels, requests = toy.pixels(2), ask(kind)
    together = generate(model, tokenizer, pixels, requests)
    for request, answer in zip(requests, together, strict=True):
        single = Request(0, request.question, request.grammar)
        alone = generate(model, tokenizer, pixels[request.image : request.image + 1], [single])[0]
        assert alone.ids == answer.ids and alone.confidence == pytest.approx(answer.confidence, rel=1e-3)


@pytest.mark.parametrize("form", ["token", "text"])
@pytest.mark.parametrize("name", ALL_TASKS)
def test_every_answer_can_be_read(form, name):
    """Of a model that has learnt nothing, likeliest or drawn."""
    model, grammar = toy.model(coordinates=form), grammars(form)[name]
    requests = [Request(i, f"Tell {i} of [100, 200, 300, 400]", grammar, seed=i) for i in range(3)]
    for temperature in (0.0, 2.0):
        for answer in generate(model, toy.tokenizer(form), toy.pixels(3), requests, temperature):
            assert ALL_TASKS[name].parse(answer.text, 64, 48) is not None, answer.text
            assert 0 < answer.confidence <= 1


@pytest.mark.parametrize("form", ["token", "text"])
@pytest.mark.parametrize("name", ["rec_box", "rec_every", "rec_mask", "presence"])
def test_every_coordinate_has_a_probability_of_its_own(form, name):
    requests = [Request(i, f"Tell {i} of it", grammars(form)[name], seed=i) for i in range(4)]
    for answer in generate(toy.model(coordinates=form), toy.tokenizer(form), toy.pixels(4), requests, 1.0):
        numbers = re.findall(r"[0-9]+", answer.text.partition(":")[2] or answer.text)
        assert len(answer.coordinates) == len(numbers)
        assert all(0 < each <= 1 for each in answer.coordinates)
        # what is no coordinate was sure, or made the whole answer less likely
        assert answer.probability <= math.prod(answer.coordinates) * (1 + 1e-5)
        if name == "rec_box":
            assert answer.probability == pytest.approx(math.prod(answer.coordinates), rel=1e-4)


def test_draws_are_a_matter_of_each_request_s_seed():
    model, requests = toy.model(), ask("mlp")

    def draw(seed: int, chosen: Sequence[Request]) -> list[Answer]:
        seeded = [replace(request, seed=seed + requests.index(request)) for request in chosen]
        return generate(model, toy.tokenizer(), toy.pixels(2), seeded, 1.0)

    torch.manual_seed(1)
    first = draw(7, requests)
    torch.manual_seed(2)  # the seeds alone decide
    assert draw(7, requests) == first != draw(8, requests)
    # Nor does it matter what else is in the batch, or in which order.
    assert [each.ids for each in draw(7, requests[::-1])] == [each.ids for each in first[::-1]]
    assert [draw(7, [request])[0].ids for request in requests] == [each.ids for each in first]


def test_words_without_digits_hold_none():
    """Of a model that has learnt nothing, drawn hot: the words of the cycle never tell a place by its number."""
    compiler = GrammarCompiler(toy.tokenizer("text"))
    said = {}
    for digits in (True, False):
        grammar = compiler.compile(((Words(digits=digits),),))
        requests = [Request(0, "Describe [100, 200, 300, 400].", grammar, seed=i) for i in range(20)]
        answers = generate(toy.model(coordinates="text"), toy.tokenizer("text"), toy.pixels(1), requests, 5.0)
        said[digits] = "".join(answer.text for answer in answers)
    assert any(map(str.isdigit, said[True])) and not any(map(str.isdigit, said[False]))


def test_nothing_else_is_touched():
    """Weights, the mode and torch's own random numbers stay as they were."""
    model = toy.model().train()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    generate(model, toy.tokenizer(), toy.pixels(1), ask("mlp", 1)[:2], 0.7)
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_no_question_no_answer():
    assert generate(toy.model(), toy.tokenizer(), toy.pixels(1), []) == []
