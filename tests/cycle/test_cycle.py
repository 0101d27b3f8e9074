"""The cycle: the examples that it keeps, the model that makes them, and resuming a run with them."""

from __future__ import annotations

import itertools
import pickle
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import scripted
import torch
import toy
from pydantic import ValidationError

from vilam.cycle import cycle as cycle_module
from vilam.cycle.cycle import Cycle, measures
from vilam.cycle.examples import Example
from vilam.cycle.round_trip import Found, RoundTrip
from vilam.inference.scoring import Target, log_probabilities
from vilam.launch import ALONE, Processes
from vilam.models.vilam.model import VilamForConditionalGeneration
from vilam.training.sampling import by_image


def make(**changes: Any) -> Cycle:
    return Cycle(scripted.settings(**changes), {"rec_box": 1.0, "reg_class": 2.0}, steps=10, seed=1)


def refreshed(
    cycle: Cycle,
    iterations: int = 1,
    network: VilamForConditionalGeneration | None = None,
    processes: Processes = ALONE,
    undescribed: bool = True,
) -> Mapping[str, float]:
    """The measures of the last iteration; ``undescribed``: no region has an expression."""
    measured: Mapping[str, float] = {}
    for iteration in range(iterations):
        instructions = scripted.instructions(undescribed)
        measured = cycle.refresh(toy.with_few_words(network), toy.records(), instructions, iteration, processes)
    return measured


@pytest.fixture
def things(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every generated expression is "the thing", and every box is in the corner."""
    return scripted.script(monkeypatch, lambda _: "the thing", lambda _: "[0, 0, 10, 10]")


def test_sample_takes_its_fraction_of_images_with_the_weight_of_the_schedule(things):
    cycle = make(image_fraction=0.25, images=4, start=0.5, ramp=0.4)  # of 10 steps
    assert cycle.sample(6, 8) == {}
    refreshed(cycle)
    chosen = cycle.sample(6, 8)
    assert len(chosen) == 2
    for image_id, examples in chosen.items():
        assert [each.weight for each in examples] == [0.5] * len(toy.records()[image_id].regions)
        assert {each.instruction.image_id for each in examples} == {image_id}
    assert cycle.sample(6, 8) == chosen and cycle.sample(7, 8).keys() | cycle.sample(8, 8).keys() != chosen.keys()
    assert cycle.sample(4, 8) == {}


def test_sample_takes_a_few_examples_of_each_image_and_depends_on_the_step(things):
    cycle = make(images=4, instructions=2, start=0.0, ramp=0.0)
    refreshed(cycle)
    chosen: dict[str, set[Example]] = {}
    for step in range(40):
        for image_id, examples in cycle.sample(step, 8).items():
            assert len({each.instruction.instruction_id for each in examples}) == len(examples) == 2
            chosen.setdefault(image_id, set()).update(examples)
    assert chosen == {image_id: set(examples) for image_id, examples in cycle.kept.items()}


def test_refresh_uses_every_image_and_keeps_the_newest(things):
    cycle = make(images=3, kept=4)
    seen = []
    for iteration in range(8):
        cycle.refresh(toy.with_grammars(), toy.records(), scripted.instructions(undescribed=True), iteration)
        seen += list(cycle.kept)[-3:]
        assert len(cycle.kept) <= 4
    assert sorted(seen) == sorted([image_id for image_id in by_image(toy.of_split("train"))] * 3)


def test_examples_are_made_by_the_teacher_if_there_is_one():
    """The model has moved on since the teacher was copied: the examples are still those of the copied weights."""
    before, after = toy.model(seed=0), toy.model(seed=5)
    changes = {"samples": 2, "self_training": 1.0, "max_tokens": 5, "images": 4}

    def kept(teacher: float | None, *networks: VilamForConditionalGeneration) -> dict[str, list[Example]]:
        cycle = make(teacher=teacher, **changes)
        for network in networks:
            refreshed(cycle, network=network)
        return cycle.kept

    assert kept(1.0, before, after) == kept(None, before) != kept(None, after) == kept(None, before, after)


def test_the_teacher_is_the_reference_model_of_rewards(monkeypatch):
    """The reference log probabilities are those of the frozen weights; the answers are those of the current model."""
    answers = itertools.cycle(["[0, 0, 500, 500]", "[500, 500, 1000, 1000]"])
    scripted.script(monkeypatch, lambda _: "x", lambda _: next(answers))
    before, after = toy.model(seed=0), toy.model(seed=5)
    cycle = make(mode="reward", samples=2, kl=0.1, teacher=1.0, reg_then_rec=0.0, rec_then_reg=1.0, images=4)
    for network in (before, after):
        cycle.refresh(toy.with_grammars(network), toy.records(), scripted.instructions(), 0)
    checked = 0
    for image_id, examples in cycle.kept.items():
        images = after.preprocess([toy.records()[image_id].image])
        for each in examples:
            assert each.sampled is not None
            target = Target(0, each.instruction.question, each.sampled.ids)
            for network, known in ((after, each.sampled.old), (before, each.sampled.reference)):
                (expected,) = log_probabilities(toy.with_grammars(network), images, [target])
                assert list(known) == pytest.approx(list(expected), abs=1e-3)
            assert list(each.sampled.old) != pytest.approx(list(each.sampled.reference), abs=0.1)
            checked += 1
    assert checked


def test_the_teacher_follows_the_network_that_is_trained():
    network, cycle = toy.model(), make(teacher=0.75)
    assert cycle.teacher is not None
    start = [parameter.detach().clone() for parameter in cycle.teacher.of(network).parameters()]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    cycle.follow(network)
    for own, before in zip(cycle.teacher.of(network).parameters(), start, strict=True):
        assert torch.allclose(own, before + 0.25, atol=1e-5)
    make(teacher=None).follow(network)  # without a teacher it does nothing


def test_a_run_resumes_with_the_examples_and_the_teacher(things):
    network = toy.model()
    cycle, other = make(teacher=0.5, images=4), make(teacher=0.5, images=4)
    refreshed(cycle, network=network)
    other.load(pickle.loads(pickle.dumps(cycle.state())), toy.model(seed=5))
    assert other.sample(9, 8) == cycle.sample(9, 8) != {}
    assert cycle.teacher is not None and other.teacher is not None
    ours, theirs = cycle.teacher.of(network), other.teacher.of(network)
    assert all((a == b).all() for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("mode", ["pseudo", "soft", "reward"])
def test_an_untrained_model_makes_the_same_examples_again_without_digits(mode):
    changes = {
        "mode": mode,
        "samples": 2,
        "rec_then_reg": 1.0,
        "self_training": 1.0,
        "max_tokens": 5,
        "teacher": 0.9,
        "kl": 0.1,
    }
    first, second = make(**changes), make(**changes)
    undescribed = mode != "reward"  # true expressions have boxes of different rewards
    measured = refreshed(first, undescribed=undescribed)
    assert (
        refreshed(second, undescribed=undescribed) == measured
        and first.kept == second.kept
        and any(first.kept.values())
    )
    for example in (example for own in first.kept.values() for example in own):
        if example.instruction.task == "rec_box" and example.sampled is None:
            assert not any(map(str.isdigit, example.instruction.question))
            assert not set("[]\n") & set(example.instruction.question)


def test_two_processes_make_the_same_examples_as_one():
    """Each process makes the examples of its own images, and both get all examples."""
    changes = {"samples": 2, "rec_then_reg": 1.0, "max_tokens": 5, "images": 5}
    alone = make(**changes)
    expected = refreshed(alone, iterations=2)
    networks = toy.model(), toy.model()  # made before the threads, which have one random generator
    parts, both_there = [None, None], threading.Barrier(2, timeout=60)

    class Pair(Processes):
        """Two threads instead of two processes."""

        def all_gather(self, found: Any) -> list[Any]:
            parts[self.rank] = found
            both_there.wait()
            everything = list(parts)
            both_there.wait()  # before the next part replaces it
            return everything

    def run(rank: int) -> tuple[Cycle, Mapping[str, float]]:
        own = make(**changes)
        return own, refreshed(own, iterations=2, network=networks[rank], processes=Pair(rank, 2))

    with ThreadPoolExecutor(2) as pool:
        for own, measured in pool.map(run, range(2)):
            assert own.kept == alone.kept and any(own.kept.values())
            assert measured == pytest.approx(expected)


def test_measures_are_fractions_means_and_diversity_of_round_trips(things):
    """The diversity is low if every region has the same expression."""
    measured = refreshed(make())
    assert measured["cycle_entropy"] == 0.0 and measured["cycle_num_words"] == 2.0
    assert measured["cycle_accepted"] == 0.0 == measured["cycle_ambiguous"]
    round_trips = [
        RoundTrip("", "a", (1,), 0.5, Found(box_xyxy=(0, 0, 1, 1), iou=0.9)),
        RoundTrip("", "b", (1,), 0.7, Found(box_xyxy=(0, 0, 1, 1), iou=0.6, other_iou=0.6)),
        RoundTrip("", "c", (1,), 0.6, Found()),
        RoundTrip("", "d", (1,), 0.6, Found(box_xyxy=(0, 0, 1, 1), iou=0.1)),
    ]
    found = measures(round_trips, 0.5)
    assert found["cycle_accepted"] == 0.25 and found["cycle_ambiguous"] == 0.5
    assert found["cycle_iou"] == pytest.approx(0.4) and found["cycle_confidence"] == pytest.approx(0.6)
    assert measures([], 0.5) == {}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mode": "hope"}, "mode"),
        ({"reg_then_rec": -0.1}, "reg_then_rec"),
        ({"self_training": -1}, "self_training"),
        ({"samples": 0}, "samples"),
        ({"min_iou": 1.5}, "min_iou"),
        ({"teacher": 2}, "teacher"),
        ({"mode": "reward", "samples": 1}, "samples"),
        ({"mode": "reward", "samples": 2, "kl": 0.1}, "teacher"),
    ],
)
def test_a_bad_setting_is_named(changes, named):
    with pytest.raises(ValidationError, match=named):
        scripted.settings(**changes)


def test_an_image_has_the_same_examples_alone_and_in_a_batch(monkeypatch):
    changes = {"samples": 2, "rec_then_reg": 1.0, "max_tokens": 5, "images": 4}
    together, alone = make(**changes), make(**changes)
    refreshed(together)
    monkeypatch.setattr(cycle_module, "BATCH", 1)
    refreshed(alone)
    assert len(together.kept) == 4 and together.kept == alone.kept and any(together.kept.values())
