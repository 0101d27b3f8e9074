"""Which words of a conversation mean which boxes, in the notations of several models."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vilam.data.readers.dialogues import Mention, asked_words, mentions

A, B = (1.0, 2.0, 30.0, 40.0), (5.0, 6.0, 70.0, 80.0)
LIST_A, LIST_B = "[1, 2, 30, 40]", "[5, 6, 70, 80]"


def said(question: str, answer: str) -> list[Mention]:
    return mentions([("user", question), ("assistant", answer)])


@pytest.mark.parametrize(
    "answer",
    [
        "<ref>a fox</ref><box>(1,2),(30,40)</box>",
        "<ref> a fox</ref> is at <box>[[1, 2, 30, 40]]</box>.",
        "<|object_ref_start|>a fox<|object_ref_end|><|box_start|>(1,2),(30,40)<|box_end|>",
        "<p>a fox</p> {<1><2><30><40>}",
        '```json\n[\n\t{"bbox_2d": [1, 2, 30, 40], "label": "a fox"}\n]\n```',
        '{\n"bbox_2d": [1, 2, 30, 40]\n}',
        "[1, 2, 30, 40]",
        "[30, 40, 1, 2]",
    ],
)
def test_a_box_answers_words(answer: str) -> None:
    assert said("<image>\nWhere is a fox in this image?", answer) == [Mention("a fox", (A,))]


def test_words_mean_all_boxes_behind_them() -> None:
    answer = (
        "<ref>two owls</ref><box>(1,2),(30,40)</box><box>(5,6),(70,80)</box> and <ref>it</ref><box>(5,6),(70,80)</box>"
    )
    assert said("Describe it.", answer) == [Mention("two owls", (A, B)), Mention("it", (B,))]
    assert said("Find the <ref>owls</ref>", f"{LIST_A}{LIST_B}") == [Mention("owls", (A, B))]
    assert said("Find the owls", "[1,2,30,40;5,6,70,80]") == [Mention("the owls", (A, B))]
    assert said("<ref>x</ref> and <ref>y</ref>?", f"{LIST_A}, {LIST_B}") == [Mention("x", (A,)), Mention("y", (B,))]


def test_a_box_that_other_words_part_from_the_last_is_none_of_theirs() -> None:
    found = said("Where is it?", f"<ref>a fox</ref><box>{LIST_A}</box> runs to {LIST_B}")
    assert found == [Mention("a fox", (A,)), Mention("it", (B,))]


def test_labels_of_several_objects_are_labels() -> None:
    rows = [{"bbox_2d": A, "label": "fox"}, {"bbox_2d": B, "label": "owl"}, {"bbox_2d": B, "label": "fox"}]
    found = said("Detect fox and owl, in JSON.", json.dumps(rows))
    assert found == [Mention("fox", (A, B), True), Mention("owl", (B,), True)]


def test_the_only_label_is_an_expression_if_it_is_what_the_question_asks_for() -> None:
    answer = json.dumps([{"bbox_2d": A, "label": "red fox"}])
    assert said("Locate the red fox in this image.", answer) == [Mention("red fox", (A,))]
    assert said("There is a red fox by the tree: mark it.", answer) == [Mention("red fox", (A,), True)]
    assert said("Detect everything.", answer) == [Mention("red fox", (A,), True)]
    long = json.dumps([{"bbox_2d": A, "label": "red fox by the tree"}])
    assert said("There is a red fox by the tree: mark it.", long) == [Mention("red fox by the tree", (A,))]


def test_words_answer_a_box() -> None:
    assert said(f"Describe this region: {LIST_A}.", "The left fox.") == [Mention("The left fox", (A,))]
    assert said("<bbox> is <box>(1,2),(30,40)</box>", "<ref>a fox</ref>") == [Mention("a fox", (A,))]
    assert said(f"Is it in {LIST_A}?", "Yes.") == [Mention(None, (A,))]
    assert said(f"Is <ref>the fox</ref><box>{LIST_A}</box> red?", "It is.") == [Mention("the fox", (A,))]


def test_an_empty_list_answers_words_that_mean_none() -> None:
    assert said("Locate <ref>a bear</ref>", "```json\n[]\n```") == [Mention("a bear")]
    assert said("What do you see?", "Nothing.") == []


def test_each_answer_belongs_to_the_question_before_it() -> None:
    turns = [("user", "Where is x?"), ("assistant", LIST_A), ("user", "And describe"), ("user", LIST_B)]
    assert mentions([*turns, ("assistant", "the owl")]) == [Mention("x", (A,)), Mention("the owl", (B,))]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (
            "Please provide the bounding box coordinate of the region this sentence describes: the red fox.",
            "the red fox",
        ),
        ("Locate house in this image and output the bbox coordinates in JSON format.", "house"),
        ("Picture 1: <img>a.jpg</img>\nWhere is the cube in the upper left?", "the cube in the upper left"),
        ('Find "the man with the report on his knees" for me.', "the man with the report on his knees"),
        ("Locate the report on the desk. Output the coordinates in JSON.", "the report on the desk"),
        ("Can you give me the bounding boxes of all dogs in the photo?", "all dogs"),
        ("Detect all the objects in this image, and answer in JSON.", None),
        ("What a nice day it is.", None),
    ],
)
def test_the_words_that_a_question_asks_for(question: str, words: str | None) -> None:
    assert asked_words(question) == words


@given(st.text(alphabet='[]{}()<>,;"refbox_2d0123456789.-/| \n', max_size=200), st.booleans())
def test_any_text_is_read(text: str, is_question: bool) -> None:
    for mention in said(text, "[1,2,3,4]") if is_question else said("Where is it?", text):
        assert all(box[0] <= box[2] and box[1] <= box[3] for box in mention.boxes)


def test_deep_nesting_is_no_box() -> None:
    assert said("Where is it?", '{"bbox": ' + "[" * 100_000) == []


@pytest.mark.parametrize(
    "part",
    [
        "<ref>",
        "<ref>a",
        '"',
        "“a",
        "object ",
        "(1,2)" + " " * 99,
        "```" + " " * 99,
        "[1,",
        "[ ",
        "<loc_1>a",
        "where is ",
    ],
)
def test_long_texts_take_no_time(part: str) -> None:
    from vilam.data.readers.florence2 import _named_boxes

    text = part * (100_000 // len(part))
    start = time.perf_counter()
    said(text, text)
    said(text, f'"bbox" {text}')
    with suppress(ValueError):
        list(_named_boxes(text + "a" * 100_000))
    assert time.perf_counter() - start < 10
