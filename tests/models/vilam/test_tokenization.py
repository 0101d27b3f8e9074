"""Text to tokens and back, in both forms of coordinates."""

from __future__ import annotations

import re

import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from vilam.models.vilam.coordinates import coordinate_tokens
from vilam.tasks.answers import GROUP

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda text: not GROUP.search(text))
ON_BINS = st.integers(0, 100).map(lambda n: 10 * n)
ANY = st.integers(0, 1000)


def groups(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[str]:
    """Boxes and lists of points in the paper's text."""
    boxes = st.tuples(*[numbers] * 4).map(lambda box: str(list(box)))
    points = st.lists(st.tuples(numbers, numbers).map(list), min_size=1, max_size=4).map(str)
    return boxes | points


def texts(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[str]:
    """Words and coordinates in any order."""
    return st.lists(WORDS | groups(numbers), max_size=5).map("".join)


@settings(max_examples=100, deadline=None)
@given(texts(ON_BINS))
def test_text_on_bins_comes_back_from_tokens(text):
    tokenizer = toy.tokenizer("token")
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=100, deadline=None)
@given(texts(ANY))
def test_text_comes_back_from_digits(text):
    tokenizer = toy.tokenizer("text")
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=50, deadline=None)
@given(groups(ANY))
def test_off_bins_a_number_moves_by_half_a_bin_at_most(group):
    tokenizer = toy.tokenizer("token")
    decoded = tokenizer.decode(tokenizer.encode(group))
    assert re.sub(r"\d+", "", decoded) == re.sub(r"\d+", "", group)
    before, after = ([int(n) for n in re.findall(r"\d+", text)] for text in (group, decoded))
    assert max(abs(a - b) for a, b in zip(after, before, strict=True)) <= 5


@pytest.mark.parametrize("form", ["token", "text"])
@pytest.mark.parametrize("typed", ["<x10>", "<box>", "a <eos> b", "<pad>", "</points><y1000>"])
def test_what_a_person_types_is_never_a_special_token(form, typed):
    tokenizer = toy.tokenizer(form)
    ids = tokenizer.encode(typed)
    special = set(tokenizer.tokenizer.all_special_ids)
    assert not special & set(ids)
    assert tokenizer.first_coordinate is None or max(ids) < tokenizer.first_coordinate
    assert tokenizer.decode(ids) == typed


def test_a_box_is_five_tokens_and_a_point_two():
    tokenizer = toy.tokenizer("token")
    first = tokenizer.first_coordinate
    names = coordinate_tokens(101)
    ids = tokenizer.encode("[0, 10, 990, 1000]")
    assert [names[i - first] for i in ids] == ["<box>", "<x0>", "<y10>", "<x990>", "<y1000>"]
    ids = tokenizer.encode("[[0, 10], [20, 30]]")
    assert [names[i - first] for i in ids] == ["<points>", "<x0>", "<y10>", "<x20>", "<y30>", "</points>"]


@pytest.mark.parametrize("form", ["token", "text"])
def test_an_answer_is_decoded_up_to_its_end(form):
    tokenizer = toy.tokenizer(form)
    ids = tokenizer.encode_answer("2 parts: [[10, 20], [30, 40]]")
    assert ids[-1] == tokenizer.eos_id
    assert tokenizer.decode_answer([*ids, *tokenizer.encode("never read")]) == "2 parts: [[10, 20], [30, 40]]"


@pytest.mark.parametrize("form", ["token", "text"])
def test_a_word_is_the_same_tokens_in_a_question_and_as_an_answer(form):
    """Otherwise a class in expressions would have to be learnt again as an answer."""
    tokenizer = toy.tokenizer(form)
    question = tokenizer.encode("Where is the circle?")
    *answer, end = tokenizer.encode_answer("circle")
    assert end == tokenizer.eos_id
    assert any(question[i : i + len(answer)] == answer for i in range(len(question)))
    assert tokenizer.decode_answer([*answer, end]) == "circle"


def test_a_box_alone_has_no_space_before_it():
    tokenizer = toy.tokenizer("token")
    assert len(tokenizer.encode_answer("[0, 10, 990, 1000]")) == 6


def test_a_saved_tokenizer_is_the_same(tmp_path):
    from transformers import AutoTokenizer

    from vilam.models.vilam.tokenization import GroundingTokenizer

    before = toy.tokenizer("token")
    before.tokenizer.save_pretrained(tmp_path)
    after = GroundingTokenizer(AutoTokenizer.from_pretrained(tmp_path), 101)
    for text in ("the red circle at [10, 20, 30, 40]", "a person types <x10>", "Größe 12 [[0, 0]]"):
        assert after.encode(text) == before.encode(text)
    assert after.first_coordinate == before.first_coordinate
