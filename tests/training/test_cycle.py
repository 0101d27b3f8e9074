"""When the cycle has its turn, what it keeps, and that a run goes on with it."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import scripted
import toy
from pydantic import ValidationError

from vilam.inference.round_trip import Found, Trip
from vilam.models.vilam import VilamForConditionalGeneration
from vilam.training import cycle as cycle_module
from vilam.training.cycle import Cycle, measures
from vilam.training.sampling import Example, by_image


def make(**changes: Any) -> Cycle:
    return Cycle(scripted.settings(**changes), {"rec_box": 1.0, "reg_class": 2.0}, toy.tokenizer(), toy.card(), seed=1)


def refreshed(cycle: Cycle, turns: int = 1, model: VilamForConditionalGeneration | None = None) -> Mapping[str, float]:
    measured: Mapping[str, float] = {}
    for turn in range(turns):
        measured = cycle.refresh(model or toy.model(), toy.records(), scripted.instructions(wordless=True), turn)
    return measured


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything is called a thing, and is found in the corner."""
    return scripted.script(monkeypatch, lambda _: "the thing", lambda _: "[0, 0, 10, 10]")


def test_it_begins_late_and_rises():
    cycle = make(start=0.5, ramp=0.25, refresh=3)
    assert [step for step in range(20) if cycle.due(step, 20)] == [10, 13, 16, 19]
    weights = [cycle.weight(step, 20) for step in range(20)]
    assert weights[:10] == [0.0] * 10 and weights[10:15] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert weights[15:] == [1.0] * 5
    assert make(start=0.0, ramp=0.0).weight(0, 20) == 1.0
    none = make(mode="none")
    assert not any(none.due(step, 20) or none.weight(step, 20) for step in range(20))


def test_a_step_has_its_share_of_images_at_the_risen_weight(spoken):
    cycle = make(share=0.25, images=4)
    assert cycle.draw(5, 8, 1.0) == {}
    refreshed(cycle)
    drawn = cycle.draw(5, 8, 0.5)
    assert len(drawn) == 2
    for image_id, examples in drawn.items():
        assert [each.weight for each in examples] == [0.5] * len(toy.records()[image_id].regions)
        assert {each.instruction.image_id for each in examples} == {image_id}
    assert cycle.draw(5, 8, 0.5) == drawn != cycle.draw(6, 8, 0.5)
    assert cycle.draw(5, 8, 0.0) == {}


def test_of_an_image_a_few_examples_are_drawn_others_at_another_step(spoken):
    cycle = make(images=4, instructions=2)
    refreshed(cycle)
    drawn = {}
    for step in range(40):
        for image_id, examples in cycle.draw(step, 8, 1.0).items():
            assert len({each.instruction.instruction_id for each in examples}) == len(examples) == 2
            drawn.setdefault(image_id, set()).update(examples)
    assert drawn == {image_id: set(examples) for image_id, examples in cycle.kept.items()}


def test_every_image_has_its_turn_and_the_newest_are_kept(spoken):
    cycle = make(images=3, kept=4)
    seen = []
    for turn in range(8):
        cycle.refresh(toy.model(), toy.records(), scripted.instructions(wordless=True), turn)
        seen += list(cycle.kept)[-3:]
        assert len(cycle.kept) <= 4
    assert sorted(seen) == sorted([image_id for image_id in by_image(toy.of_split("train"))] * 3)


def test_the_teacher_s_words_are_used_where_there_is_one(monkeypatch):
    asked: list[object] = []

    class Spy(Cycle):
        def _go_round(self, model: Any, sources: Any, turn: int) -> Any:
            asked.append(model)
            second = model if self.teacher is None else self.teacher.beside(model)
            asked.append(second)
            return [[] for _ in sources], []

    own = Spy(scripted.settings(teacher=1.0), {"rec_box": 1.0}, toy.tokenizer(), toy.card(), 1)
    refreshed(own)
    assert asked[0] is not asked[1]


def test_a_run_goes_on_with_what_was_kept(spoken):
    model = toy.model()
    cycle, other = make(teacher=0.5, images=4), make(teacher=0.5, images=4)
    refreshed(cycle, model=model)
    other.load(pickle.loads(pickle.dumps(cycle.state())), toy.model(seed=5))
    assert other.draw(7, 8, 1.0) == cycle.draw(7, 8, 1.0) != {}
    assert cycle.teacher is not None and other.teacher is not None
    ours, theirs = cycle.teacher.beside(model), other.teacher.beside(model)
    assert all((a == b).all() for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("mode", ["pseudo", "soft", "reward"])
def test_a_real_model_goes_round(mode):
    """Of a model that has learnt nothing: no digits, no brackets, and the same again."""
    changes = {
        "mode": mode,
        "samples": 2,
        "rec_then_reg": 1.0,
        "retell": 1.0,
        "max_words": 5,
        "teacher": 0.9,
        "kl": 0.1,
    }
    first, second = make(**changes), make(**changes)
    measured = refreshed(first)
    assert refreshed(second) == measured and first.kept == second.kept
    for example in (example for own in first.kept.values() for example in own):
        if example.instruction.task == "rec_box" and example.sampled is None:
            assert not any(map(str.isdigit, example.instruction.question))
            assert not set("[]\n") & set(example.instruction.question)


def test_two_processes_make_the_middles_of_one(monkeypatch):
    """Each goes round its own images, and both end up with all examples, as if one had made them."""
    changes = {"samples": 2, "rec_then_reg": 1.0, "max_words": 5, "images": 5}
    alone = make(**changes)
    expected = refreshed(alone, turns=2)
    models = toy.model(), toy.model()  # made before, since what draws their weights is one for all threads
    process, parts, both_there = threading.local(), [None, None], threading.Barrier(2, timeout=60)

    def gathered(part: Any) -> list[Any]:
        parts[process.rank] = part
        both_there.wait()
        everything = list(parts)
        both_there.wait()  # before the next part is put
        return everything

    def one(rank: int) -> tuple[Cycle, Mapping[str, float]]:
        process.rank = rank
        own = make(**changes)
        return own, refreshed(own, turns=2, model=models[rank])

    monkeypatch.setattr(cycle_module, "rank", lambda: process.rank)
    monkeypatch.setattr(cycle_module, "world_size", lambda: 2)
    monkeypatch.setattr(cycle_module, "_gathered", gathered)
    with ThreadPoolExecutor(2) as pool:
        for own, measured in pool.map(one, range(2)):
            assert own.kept == alone.kept != {}
            assert measured == pytest.approx(expected)


def test_alarms(spoken):
    """A model that calls everything a thing is told by its diversity."""
    measured = refreshed(make())
    assert measured["cycle_entropy"] == 0.0 and measured["cycle_num_words"] == 2.0
    assert measured["cycle_accepted"] == 0.0 == measured["cycle_misleading"]
    trips = [
        Trip("", "a", (1,), 0.5, Found(box_xyxy=(0, 0, 1, 1), iou=0.9)),
        Trip("", "b", (1,), 0.7, Found(box_xyxy=(0, 0, 1, 1), iou=0.6, other_iou=0.6)),
        Trip("", "c", (1,), 0.6, Found()),
        Trip("", "d", (1,), 0.6, Found(box_xyxy=(0, 0, 1, 1), iou=0.1)),
    ]
    told = measures(trips, 0.5)
    assert told["cycle_accepted"] == 0.25 and told["cycle_misleading"] == 0.5
    assert told["cycle_iou"] == pytest.approx(0.4) and told["cycle_confidence"] == pytest.approx(0.6)
    assert measures([], 0.5) == {}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mode": "hope"}, "mode"),
        ({"reg_then_rec": -0.1}, "reg_then_rec"),
        ({"retell": -1}, "retell"),
        ({"samples": 0}, "samples"),
        ({"min_iou": 1.5}, "min_iou"),
        ({"teacher": 2}, "teacher"),
        ({"mode": "reward", "samples": 1}, "samples"),
        ({"mode": "reward", "samples": 2, "kl": 0.1}, "teacher"),
    ],
)
def test_bad_settings_are_named(changes, named):
    with pytest.raises(ValidationError, match=named):
        scripted.settings(**changes)


def test_examples_know_nothing_of_each_other(spoken):
    """Each example is whole: one image alone gives what it gives in a batch."""
    cycle = make(images=8)
    refreshed(cycle)
    assert all(isinstance(each, Example) for own in cycle.kept.values() for each in own)
    assert len(cycle.kept) == 4
