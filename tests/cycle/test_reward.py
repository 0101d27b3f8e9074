"""Sampled answers and their rewards."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import Any

import pytest
import scripted
import torch
import toy

from vilam.cycle import reward as module
from vilam.cycle.examples import Example
from vilam.cycle.reward import Rewards, advantages
from vilam.geometry.boxes import box_iou
from vilam.tasks import TASKS
from vilam.training.batching import collate

REC = TASKS["rec_box"]
EXPRESSIONS = ("the thing", "nothing at all", "several things", "nowhere")


def test_advantages_are_standard_scores():
    rewards = [0.0, 0.5, 0.9, 0.1]
    mean, deviation = statistics.mean(rewards), statistics.pstdev(rewards)
    assert advantages(rewards) == pytest.approx([(each - mean) / (deviation + 1e-4) for each in rewards])
    assert advantages([0.7] * 4) == [0.0] * 4 == advantages([0.0] * 4)


def make(**changes: Any) -> tuple[list[list[Example]], list[Any]]:
    own = {"mode": "reward", "samples": 4, "rec_then_reg": 0.0, "reg_then_rec": 0.5, **changes}
    rewards = Rewards(scripted.settings(**own), seed=1)
    return rewards.examples(toy.with_grammars(), toy.model(seed=1), scripted.sources(), 0)


def script_one_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the samples finds its region, the others do not."""
    count: dict[tuple[int, str], int] = {}
    right: dict[int, str] = {}

    def words(request: Any) -> str:
        key = request.image, request.question
        count[key] = count.get(key, -1) + 1
        regions = scripted.sources()[request.image].record.regions
        right[request.image] = next(box for box in map(scripted.box_of, regions) if box in request.question)
        return EXPRESSIONS[count[key]]

    def box(request: Any) -> str:
        return right[request.image] if EXPRESSIONS[0] in request.question else "[0, 0, 10, 10]"

    scripted.script(monkeypatch, words, box)


def test_the_advantage_is_positive_for_expressions_that_find_their_region_only(monkeypatch):
    script_one_right(monkeypatch)
    examples, round_trips = make()
    for own in examples:
        assert [example.instruction.answer for example in own] == list(EXPRESSIONS)
        gained = [example.sampled.advantage for example in own if example.sampled]
        assert gained == pytest.approx(advantages([1.0, 0.0, 0.0, 0.0]), abs=0.05) and gained[0] > 0 > gained[1]
        assert all(example.weight == 0.5 and example.instruction.task == "reg_caption" for example in own)
    for round_trip in round_trips:
        assert (round_trip.found.iou > 0.9) == (round_trip.words == "the thing")


def test_log_probabilities_are_those_of_the_model_and_of_the_reference(monkeypatch):
    script_one_right(monkeypatch)
    examples, _ = make()
    record = scripted.sources()[0].record
    for example in examples[0]:
        sampled = example.sampled
        assert sampled is not None
        for model, known in ((toy.model(), sampled.old), (toy.model(seed=1), sampled.reference)):
            batch = collate(toy.with_grammars(model), [record.image], [[example]])
            with torch.no_grad():
                logits = model(**batch.inputs).logits
            after = len(batch.inputs["input_ids"][0]) - len(sampled.ids)
            expected = [float(logits[after + i - 1].log_softmax(0)[token]) for i, token in enumerate(sampled.ids)]
            assert list(known) == pytest.approx(expected, abs=1e-4)


def test_all_questions_begin_with_the_domain(monkeypatch):
    domain, targets = "This is a picture of the thing.", []

    def watched(model: Any, images: Any, answers: Any) -> Any:
        targets.extend(answers)
        return log_probabilities(model, images, answers)

    log_probabilities = module.log_probabilities
    monkeypatch.setattr(module, "log_probabilities", watched)
    boxes = itertools.cycle(["[0, 0, 500, 500]", "[500, 500, 1000, 1000]"])
    asked = scripted.script(monkeypatch, lambda _: "the thing", lambda _: next(boxes))
    own = scripted.settings(mode="reward", samples=2, rec_then_reg=1.0)
    rewards = Rewards(own, seed=1)
    examples, _ = rewards.examples(toy.with_grammars(), toy.model(seed=1), scripted.of_domain(domain), 0)
    assert {example.instruction.task for made in examples for example in made} >= {"rec_box"} and targets
    questions = [each.question for each in [*asked, *targets]]
    questions += [example.instruction.question for made in examples for example in made]
    assert all(question.startswith(f"{domain} ") and domain not in question[1:] for question in questions)


def test_answers_of_equal_reward_give_no_example(monkeypatch):
    scripted.script(monkeypatch, lambda _: "the star", lambda _: "[0, 0, 10, 10]")
    assert make()[0] == [[], []]


def test_the_reward_of_a_box_is_the_log_probability_of_its_expression(monkeypatch):
    """The rewards of F equal log probabilities that are computed one by one."""
    sampled = ["[0, 0, 500, 500]", "[500, 500, 1000, 1000]", "[100, 0, 200, 900]"]
    boxes = iter(sampled * 2)
    scripted.script(monkeypatch, lambda _: "x", lambda _: next(boxes))
    examples, _ = make(samples=3, reg_then_rec=0.0, rec_then_reg=2.0)
    model, tokenizer = toy.model(), toy.tokenizer()
    for source, own in zip(scripted.sources(), examples, strict=True):
        assert [example.instruction.answer for example in own] == sampled
        asked = next(each for each in source.described["rec_box"] if each.question == own[0].instruction.question)
        rewards = []
        for box in sampled:
            question = TASKS["reg_caption"].templates[0].format(region=box)
            ids = tokenizer.encode_question(question) + (answer := tokenizer.encode_answer(asked.expression))
            pixels = collate(toy.with_grammars(model), [source.record.image], [[own[0]]]).inputs["pixel_values"]
            with torch.no_grad():
                logits = model(pixels, torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long)).logits
            start = len(ids) - len(answer)
            values = [float(logits[start + i - 1].log_softmax(0)[token]) for i, token in enumerate(answer)]
            rewards.append(math.fsum(values) / len(values))
        assert [example.sampled.advantage for example in own if example.sampled] == pytest.approx(
            advantages(rewards), abs=1e-2
        )
        assert all(example.weight == 2.0 for example in own)


def test_ambiguous_expressions_have_no_reward():
    """A box that fits its region and another one has the reward 0."""
    from vilam.cycle.round_trip import Found, RoundTrip

    right = RoundTrip("", "w", (1,), 0.5, Found(iou=0.8, other_iou=0.1))
    both = RoundTrip("", "w", (1,), 0.5, Found(iou=0.8, other_iou=0.6))
    assert right.reward(0.5) == 0.8 and both.reward(0.5) == 0.0
    assert box_iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1.0 and module.sampled((1, 2), 0.5).old == (0.0, 0.0)
