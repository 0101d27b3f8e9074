"""What people type: its case, its length, and what only looks like coordinates, tokens or words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import hf_checkpoints
import pytest
import torch
import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vilam.data.records import Expression, Region
from vilam.errors import VilamError
from vilam.inference.lengths import position_limit
from vilam.inference.model import Model
from vilam.inference.predictor import GroundingResult, Predictor
from vilam.inference.typed import as_read, in_known_case
from vilam.models.build import LoadedModel, build_model, build_tokenizer
from vilam.models.vilam.tokenization import GroundingTokenizer, train_tokenizer
from vilam.tasks import ACTIVATION, GROUP_TASKS, TASKS
from vilam.tasks.answers import GROUP, as_words

IMAGE = Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 50).convert("RGB")
ASKED_BY_EXPRESSION = ("locate", "segment", "keypoints", "find_all", "presence")


def predictor(coordinates: str = "token", **changes: object) -> Predictor:
    """An untrained model that knows all tasks."""
    network = toy.model(coordinates=coordinates, **changes)
    info = {"tasks": ["rec_every", "presence"], "certainty": {"threshold": 0.5}}
    return Predictor(LoadedModel(network, toy.tokenizer(coordinates), toy.card(), info))


@pytest.fixture(scope="module")
def asked() -> Predictor:
    return predictor()


@pytest.mark.parametrize("method", ASKED_BY_EXPRESSION)
@pytest.mark.parametrize("change", [str.title, str.upper, str.capitalize, str.swapcase])
def test_any_case_gets_the_answer_of_the_case_of_training(
    asked: Predictor, method: str, change: Callable[[str], str]
) -> None:
    plain, typed = "the red circle on the left", change("the red circle on the left")
    assert getattr(asked, method)(IMAGE, typed) == getattr(asked, method)(IMAGE, plain)
    assert asked.model.tokenizer.encode(f" {typed}") != asked.model.tokenizer.encode(f" {plain}")


@pytest.mark.parametrize(
    "typed",
    ["[[the red circle]]", "[ the red circle. ]?", '"the red circle"', "“the red circle”."],
)
def test_what_is_around_the_whole_expression_is_not_read(asked: Predictor, typed: str) -> None:
    assert as_read(typed, asked.model) == "the red circle"


@pytest.mark.parametrize(
    "typed", ["the [red] circle", "(left) one or (right)", "the circle's", "[10, 20] and [30, 40]"]
)
def test_brackets_and_marks_inside_stay(asked: Predictor, typed: str) -> None:
    assert as_read(typed, asked.model) == typed


def test_a_word_gets_the_case_in_which_it_was_learnt() -> None:
    texts = ["Where is the RBC left of a Coke bottle?"] * 3 + ["Where is a coke?"] * 3
    tokenizer = GroundingTokenizer(train_tokenizer(texts), 101)
    assert in_known_case("THE rbc Left Of A BOTTLE", tokenizer) == "the RBC left of a bottle"
    assert in_known_case("Coke, coke; COKE-Bottle", tokenizer) == "Coke, coke; coke-bottle"  # learnt in both
    assert in_known_case("12 + Ω Zürich", tokenizer) == in_known_case("12 + Ω Zürich", tokenizer)


def test_a_pretrained_language_model_reads_what_is_typed() -> None:
    model = Model.for_data(toy.pretrained(), toy.tokenizer(), toy.card())
    assert as_read("  The RED\ncircle? ", model) == "The RED circle"


@pytest.mark.parametrize("text", ["<image>", "<image> .", "<eos>", "<box> <|im_end|>!", "...", "[]", "-", "\0 \u200b"])
@pytest.mark.parametrize("method", ASKED_BY_EXPRESSION)
def test_an_expression_without_words_is_refused(asked: Predictor, method: str, text: str) -> None:
    with pytest.raises(VilamError, match=r"the expression .*(is empty|has no words): say what to look for"):
        getattr(asked, method)(IMAGE, text)


@pytest.mark.parametrize("text", ["7", "赤い丸", "🔴", "<b>circle</b>", "c", "the <image> on the wall"])
def test_an_expression_with_a_word_is_asked(asked: Predictor, text: str) -> None:
    assert asked.locate(IMAGE, text).box_xyxy


@pytest.mark.parametrize("text", [None, 5, ["the", "circle"], b"circle", float("nan")])
def test_what_is_no_text_is_refused(asked: Predictor, text: object) -> None:
    with pytest.raises(VilamError, match="is no text: say what to look for"):
        asked.locate(IMAGE, text)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(st.text("[], 0123456789a", max_size=40))
def test_no_text_of_people_holds_coordinates(text: str) -> None:
    """Numbers and letters stay what they are."""
    words = as_words(text)
    assert GROUP.search(words) is None
    assert words.translate(str.maketrans("()", "[]")) == text


@pytest.mark.parametrize("typed", ["the circle [10, 20, 30, 40]", "the sign [[1, 2], [3, 4]] there"])
def test_bracketed_numbers_of_an_expression_are_words_in_every_question_and_answer(typed: str) -> None:
    tokenizer = toy.tokenizer()
    record = replace(toy.scenes()[0], domain="Scan [1, 2, 3, 4].")
    region = Region("r", (10.0, 20.0, 30.0, 40.0), "circle")
    expression = Expression(typed)
    texts = [TASKS[name].question(0, record, region, expression) for name in ("rec_box", "rec_mask", "rec_keypoints")]
    texts += [task.question(0, record, typed) for task in GROUP_TASKS.values()]
    texts.append(TASKS["reg_caption"].answer(record, region, expression))
    for text in texts:
        assert max(tokenizer.encode(text)) < tokenizer.first_coordinate
    described = ACTIVATION.answer(record, region, expression)
    assert len(GROUP.findall(described)) == 1  # the region's own


def test_bracketed_numbers_are_asked_about_as_words(asked: Predictor) -> None:
    assert asked.locate(IMAGE, "the circle [1, 2, 3, 4]") == asked.locate(IMAGE, "the circle (1, 2, 3, 4)")


@pytest.mark.parametrize("coordinates", ["token", "text"])
@pytest.mark.parametrize("words", [600, 20_000])
def test_an_expression_beyond_the_positions_is_refused_in_one_line(coordinates: str, words: int) -> None:
    with pytest.raises(VilamError, match=r"too long: .* tokens, and the model reads 512: shorten it") as caught:
        predictor(coordinates).locate(IMAGE, "red " * words)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def longest(asked: Predictor) -> int:
    """The largest number of words that an expression may have, by halving."""
    low, high = 1, 512
    while high - low > 1:
        middle = (low + high) // 2
        is_refused = isinstance(asked.ask(IMAGE, [("locate", "red " * middle)])[0], VilamError)
        low, high = (low, middle) if is_refused else (middle, high)
    return low


@pytest.mark.parametrize("coordinates", ["token", "text"])
def test_the_longest_expression_fills_the_positions(coordinates: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With it the language model sees no position beyond its last one, and nearly that one."""
    asked = predictor(coordinates)
    words = longest(asked)
    decoder, seen = asked.model.network.language.get_decoder(), []
    plain = decoder.forward

    def forward(*args: object, position_ids: torch.Tensor, **named: object) -> object:
        seen.append(int(position_ids.max()))
        return plain(*args, position_ids=position_ids, **named)

    monkeypatch.setattr(decoder, "forward", forward)
    asked.locate(IMAGE, "red " * words)
    assert position_limit(asked.model) == 512
    assert 512 - 15 < max(seen) < 512  # in digits, 1000 is longer than most numbers


@pytest.mark.parametrize(
    ("name", "words", "limit"),
    [
        ("llava", 2100, 2048),
        ("kosmos-2", 2100, 2048),
        ("qwen3-vl", 2100, 2048),
        ("instructblip-vicuna", 600, 512),  # its Q-Former's
        ("blip2-t5", 2100, None),  # its positions are relative, and this tokenizer has no limit
    ],
)
def test_a_whole_model_reads_no_more_than_its_positions(
    name: str, words: int, limit: int | None, tmp_path: Path
) -> None:
    hf_checkpoints.HF_CHECKPOINTS[name](tmp_path)
    chosen = toy.settings(**{**toy.HF, "model__checkpoint": str(tmp_path)}).model
    tokenizer = build_tokenizer(chosen, [])
    asked = Predictor(LoadedModel(build_model(chosen, tokenizer, 0), tokenizer, toy.card(), {}))
    found, long = asked.ask(IMAGE, [("locate", "the red circle"), ("locate", "red " * words)])
    assert isinstance(found, GroundingResult) and found.box_xyxy
    if limit is None:
        assert isinstance(long, GroundingResult)
        return
    assert f"and the model reads {limit}: shorten it" in str(long)
    question = TASKS["rec_box"].templates[0].format(expression=" ".join(["red"] * words))
    inputs = tokenizer.process(question, IMAGE, asked.model.network.preprocess([IMAGE]).frames[0])
    counted = int(re.search(r"takes (\d+) tokens", str(long))[1])  # type: ignore[index]
    if name == "instructblip-vicuna":
        assert counted == inputs["qformer_input_ids"].shape[1]
    else:
        assert 5 <= counted - inputs["input_ids"].shape[1] <= 30  # the answer
