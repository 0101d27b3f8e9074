"""Batches from worker processes: those of one process, bit for bit, for any number of workers and after a resume."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from vilam.cycle.cycle import Cycle
from vilam.cycle.examples import Example
from vilam.errors import VilamError
from vilam.models.losses import Policy
from vilam.training import loop
from vilam.training.batching import Batch
from vilam.training.loading import Rows, batches, num_workers
from vilam.training.loop import History, TrainingRun
from vilam.training.plain import PlainModel
from vilam.training.sampling import InstructionSampler


def rows(steps: int) -> Iterator[Rows]:
    sampler = InstructionSampler(toy.of_split("train"), toy.settings().train.tasks, 3, 1)
    for step in range(steps):
        ids = sampler.image_ids(step, 2)
        yield Rows([toy.records()[each].image for each in ids], [sampler.sample(each, step) for each in ids])


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [*batch.inputs.values(), batch.labels, batch.weights]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_make_the_same_batches_in_the_same_order(workers):
    model = toy.with_grammars()
    wanted = list(batches(model, rows(7), 0))
    found = list(batches(model, rows(7), workers))
    assert len(found) == 7
    for one, other in zip(found, wanted, strict=True):
        assert one.inputs.keys() == other.inputs.keys()
        assert all(torch.equal(*pair) for pair in zip(tensors(one), tensors(other), strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_take_no_random_numbers(workers):
    """Of which dropout takes its own: also behind a resume, which makes new workers."""
    model, own = toy.with_grammars(), list(rows(2))
    before = torch.get_rng_state()
    list(batches(model, own, workers))
    assert torch.equal(torch.get_rng_state(), before)


ENDS_BADLY = """
import sys, threading
sys.path.insert(0, sys.argv[1])
import toy
from vilam.cycle.examples import Example
from vilam.training.loading import Rows, batches
threading._register_atexit(lambda: 1 / 0)  # as a library of the process may
step = Rows([toy.scenes()[0].image], [[Example(toy.instructions()[0])]])
print(len(list(batches(toy.with_grammars(), [step] * 3, 1))))
"""


def test_a_worker_ends_without_what_other_libraries_do_at_the_end_of_the_process():
    command = [sys.executable, "-c", ENDS_BADLY, str(Path(__file__).parents[1])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.stdout.split()[-1:] == ["3"], done.stderr[-2000:]


def test_an_error_of_a_worker_is_told():
    with pytest.raises(OSError, match="cannot identify image"):
        list(batches(toy.with_grammars(), [Rows([b"no picture"], [[Example(toy.instructions()[0])]])], 1))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_is_told_in_one_line(monkeypatch, workers):
    """A picture that a model refuses: a worker's traceback is none of a person's business."""

    def refuse(*_: object) -> Batch:
        raise VilamError("an image of 5000 x 20: leave it out")

    monkeypatch.setattr("vilam.training.loading.collate", refuse)
    with pytest.raises(VilamError, match=r"^an image of 5000 x 20: leave it out$"):
        list(batches(toy.with_grammars(), [Rows([], [])], workers))


def test_rows_are_asked_for_ahead_of_their_batch_and_not_all_at_once():
    asked: list[int] = []

    def counted() -> Iterator[Rows]:
        for number, one in enumerate(rows(20)):
            asked.append(number)
            yield one

    ahead = batches(toy.with_grammars(), counted(), 1)
    next(ahead)
    assert 1 < len(asked) < 6


def of_cycle(batch: Batch) -> int:
    """The weight of the only example of the cycle, which is below 0, in a picture's row."""
    return round(float(batch.weights.clamp_max(0).sum(1).min()))


@pytest.mark.parametrize("workers", [0, 2])
def test_examples_of_the_cycle_are_of_their_own_step(monkeypatch, workers):
    """No batch is made before the examples that it holds are renewed, also if the run begins in between."""
    changes = {"mode": "pseudo", "start": 0.0, "ramp": 0.0, "refresh": 3, "image_fraction": 0.5}
    own = toy.settings(
        train__steps=8, train__batch_size=4, train__workers=workers,
        **{f"train__cycle__{name}": value for name, value in changes.items()},
    )  # fmt: skip
    refreshed: list[int] = []

    def run_from(first: int) -> list[int]:
        sampler = InstructionSampler(toy.of_split("train"), own.train.tasks, 2, own.seed)
        cycle = Cycle(own.train.cycle, own.train.tasks, own.train.steps, own.seed)

        def refresh(*arguments: Any) -> dict[str, float]:
            refreshed.append(iteration := arguments[3])
            cycle.kept = {each: [Example(toy.instructions()[0], -1.0 - iteration)] for each in sampler.ids[:5]}
            return {}

        monkeypatch.setattr(cycle, "refresh", refresh)
        refresh(None, None, None, first // 3)  # what a checkpoint holds
        empty: dict[str, Any] = {"held_out": {}, "validation": [], "seed": own.seed}
        run = TrainingRun("train", own.train, toy.with_grammars(), toy.records(), sampler, cycle=cycle, **empty)
        trainer = loop._Trainer(
            run, None, PlainModel(run.model.network, False), torch.device("cpu"), History(), lambda *_: None
        )
        monkeypatch.setattr(trainer, "_plain_model", _no_model)
        return [of_cycle(trainer._batch(step)) for step in range(first, 8)]

    whole, resumed = run_from(0), run_from(4)
    assert whole == [-1] * 3 + [-2] * 3 + [-3] * 2
    assert resumed == whole[4:] and refreshed == [0, 0, 1, 2, 1, 2]


class _no_model:  # noqa: N801
    def __enter__(self) -> None:
        """A context without a model."""

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


@pytest.mark.parametrize(
    ("setting", "processes", "has_gpu", "wanted"),
    [(None, 1, False, 0), (None, 1, True, 8), (None, 4, True, 4), (3, 1, False, 3), (0, 1, True, 0)],
)
def test_a_gpu_gets_workers_and_a_cpu_none(monkeypatch, setting, processes, has_gpu, wanted):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert num_workers(setting, processes) == wanted


def test_pinned_memory_is_asked_for_all_tensors(monkeypatch):
    pinned: list[int] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self.numel()) or self)
    batch = next(batches(toy.with_grammars(), rows(1), 0))
    mask = batch.labels > 0
    policy = Policy(mask, batch.weights, batch.weights, batch.weights)
    Batch(batch.inputs, batch.labels, batch.weights, policy, None).pin_memory()
    assert len(pinned) == len(batch.inputs) + 2 + 4
