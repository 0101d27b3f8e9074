"""Every walk through a task's grammar ends in an answer that the task can parse."""

from __future__ import annotations

import random

import pytest
import toy

from vilam.data.records import Group
from vilam.inference.constraints import GrammarCompiler, Walker
from vilam.tasks import ALL_TASKS, GROUP_TASKS, TASKS
from vilam.tasks.grammar import Box, OneOf, Words

FORMS = ("token", "text")
WALKS = {"rec_box": 60, "rec_keypoints": 20, "rec_mask": 12, "reg_class": 30, "reg_caption": 60}
WALKS |= {"rec_every": 30, "presence": 4}


TOKENIZERS = {
    **{f"own-{form}": lambda form=form: toy.tokenizer(form) for form in FORMS},
    **{f"gpt2-{form}": lambda form=form: toy.pretrained_tokenizer("gpt2", form) for form in FORMS},
    **{f"sentencepiece-{form}": lambda form=form: toy.pretrained_tokenizer("sentencepiece", form) for form in FORMS},
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def compiler(request: pytest.FixtureRequest) -> GrammarCompiler:
    return GrammarCompiler(TOKENIZERS[request.param]())


def walk(walker: Walker, rng: random.Random) -> list[int]:
    """A random walk to the end; fails at a dead end."""
    ids: list[int] = []
    while not walker.done:
        allowed = walker.allowed().tolist()
        assert allowed, "a dead end"
        ids.append(rng.choice(allowed))
        walker.advance(ids[-1])
    return ids


@pytest.mark.parametrize("name", ALL_TASKS)
def test_every_walk_ends_in_an_answer_that_can_be_parsed(compiler, name):
    task, rng = ALL_TASKS[name], random.Random(0)
    grammar = compiler.compile(task.grammar(toy.card()))
    for _ in range(WALKS[name]):
        answer = compiler.tokenizer.decode_answer(walk(Walker(grammar, 30), rng))
        reading = task.parse(answer, 640, 480)
        assert reading is not None, answer
        for x1, y1, x2, y2 in reading.boxes or ([reading.box_xyxy] if reading.box_xyxy else []):
            assert 0 <= x1 < x2 <= 640 and 0 <= y1 < y2 <= 480
        for part in answer.partition(": ")[2].split(" and ") if name == "rec_mask" else ():
            numbers = part.strip("[]").split("], [")
            assert len(numbers) == 26 and numbers[0] == numbers[-1]


@pytest.mark.parametrize("name", TASKS)
def test_every_true_answer_is_allowed(compiler, name):
    """Token by token, as training encodes it: otherwise the model could not generate the answers that it learns."""
    grammar = compiler.compile(TASKS[name].grammar(toy.card()))
    for instruction in [each for each in toy.of_split("train") if each.task == name][:20]:
        assert_walk(compiler, Walker(grammar, 60), instruction.answer)


@pytest.mark.parametrize("name", GROUP_TASKS)
def test_every_true_answer_about_a_group_is_allowed(compiler, name):
    task = GROUP_TASKS[name]
    grammar = compiler.compile(task.grammar(toy.card()))
    for record in toy.scenes():
        for count in range(len(record.regions) + 1):
            group = Group("g", "it", tuple(region.region_id for region in record.regions[:count]))
            assert_walk(compiler, Walker(grammar, 60), task.answer(record, group))


def assert_walk(compiler, walker, answer):
    """Each token of an answer is allowed, and the last one ends the walk."""
    for token in compiler.tokenizer.encode_answer(answer):
        if walker.done:
            assert token == compiler.tokenizer.eos_id
            break
        assert token in walker.allowed(), (answer, compiler.tokenizer.tokenizer.decode([token]))
        walker.advance(token)
    assert walker.done or compiler.tokenizer.eos_id in walker.allowed()


def test_words_hold_no_coordinates_and_no_special_tokens(compiler):
    rng = random.Random(1)
    tokenizer = compiler.tokenizer
    special = set(tokenizer.tokenizer.all_special_ids)
    first = tokenizer.first_coordinate or len(tokenizer.tokenizer)
    grammar = compiler.compile(TASKS["reg_caption"].grammar(toy.card()))
    for _ in range(100):
        ids = walk(Walker(grammar, 30), rng)
        words = ids[:-1]
        assert ids[-1] == tokenizer.eos_id and 1 <= len(words) <= 30
        assert not special & set(words) and max(words) < first
        assert not set("[]\n") & set(tokenizer.decode(ids)), tokenizer.decode(ids)


def test_a_name_that_begins_like_another_can_be_answered(compiler):
    """Both "car" and "carrot" can be reached; the shorter one ends with the end of the sequence."""
    names = ("car", "carrot", "car door", "bus")
    grammar, rng = compiler.compile(((OneOf(names),),)), random.Random(2)
    assert {compiler.tokenizer.decode_answer(walk(Walker(grammar, 30), rng)) for _ in range(100)} == set(names)


@pytest.mark.parametrize("form", ["token", "text"])
def test_forced_tokens_are_taken(form):
    """The mark before a box, all of a single option, nothing of free words."""
    compiler = GrammarCompiler(toy.tokenizer(form))
    box, one, words = (Walker(compiler.compile(((each,),)), 9) for each in (Box(), OneOf(("red disc",)), Words()))
    assert len(box.take_forced()) == 1 and len(box.allowed()) > 1
    assert compiler.tokenizer.decode_answer(one.take_forced()) == "red disc" and one.done
    assert words.take_forced() == [] and not words.done


@pytest.mark.parametrize("name", ["rec_box", "reg_class", "reg_caption", "rec_keypoints"])
def test_walkers_in_the_same_state_allow_the_same_tokens(name):
    compiler = GrammarCompiler(toy.tokenizer())
    grammar = compiler.compile(TASKS[name].grammar(toy.card()))
    seen: dict[object, list[int]] = {}
    for each in [each for each in toy.of_split("test") if each.task == name]:
        walker = Walker(grammar, 30)
        for token in compiler.tokenizer.encode_answer(each.answer):
            if not walker.done:
                allowed = walker.allowed().tolist()
                assert seen.setdefault(walker.state, allowed) == allowed
                walker.advance(token)
    assert seen
