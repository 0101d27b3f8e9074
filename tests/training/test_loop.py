"""Whole runs: killed and resumed, by one process and by two.

SLOW: one subprocess (tests/runs.py) does all of them in a row, about half a minute.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import toy
from safetensors.torch import load_file

from vilam.cycle.cycle import Cycle
from vilam.cycle.examples import Example
from vilam.cycle.schedule import Schedule
from vilam.models.backbones.images import load_pixels
from vilam.training import loop
from vilam.training.loop import History, TrainingRun
from vilam.training.plain import PlainModel
from vilam.training.sampling import InstructionSampler


def weights(project: Path, stage: str = "train") -> dict[str, torch.Tensor]:
    """The trained weights."""
    return load_file(project / "models" / stage / "model.safetensors")


def curves(project: Path, stage: str = "train") -> list[dict[str, str]]:
    """All that was measured during training."""
    files = [project / "metrics" / "plots" / f"{stage}_{name}.csv" for name in ("loss", "validation", "cycle")]
    return [row for file in files for row in csv.DictReader(file.read_text().splitlines())]


def metrics(project: Path, stage: str = "train") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project / "metrics" / f"{stage}.json").read_text())
    return content


def test_training_changes_all_weights_that_are_not_frozen(projects):
    before, after = weights(projects / "whole", "activate"), weights(projects / "whole")
    assert before.keys() == after.keys()
    unchanged = [name for name in before if torch.equal(before[name], after[name])]
    assert not unchanged and all(value.isfinite().all() for value in after.values())


def test_a_run_killed_twice_ends_with_the_same_weights_bit_for_bit(projects):
    whole, killed = weights(projects / "whole"), weights(projects / "killed")
    assert whole.keys() == killed.keys()
    assert not [name for name in whole if not torch.equal(whole[name], killed[name])]


def test_a_run_killed_twice_has_the_same_curves(projects):
    assert curves(projects / "killed") == curves(projects / "whole") != []
    assert metrics(projects / "killed") == metrics(projects / "whole")
    assert metrics(projects / "whole")["steps"] == toy.STEPS
    assert metrics(projects / "whole")["images"] == toy.STEPS * toy.RUN["batch_size"]


def test_a_killed_run_resumes_from_the_last_checkpoint(projects):
    log = (projects / "killed" / "log-3.txt").read_text()
    left = (projects / "killed" / "left.txt").read_text()
    assert "step-000004/manifest.json" in left and "step-000006/manifest.json" not in left
    assert "train: 8/16 images" in log  # it began after optimiser step 4 of 8
    assert "step-000006: not finished: skipped" in log
    assert "train" not in (projects / "killed" / "models-then.txt").read_text().split()  # no incomplete model
    assert not list(projects.glob("killed/checkpoints/train/*"))  # removed once done


def test_a_resumed_run_is_one_mlflow_run(projects):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{projects / 'killed' / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("vilam")
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"]
    trained = json.loads((projects / "killed" / "models" / "train" / "run.json").read_text())
    assert runs[0].info.run_id == trained["run_id"]
    assert runs[0].data.metrics["train/val_loss"] == pytest.approx(metrics(projects / "killed")["val_loss"])


@pytest.mark.parametrize("other", ["zero2", "zero3"])
def test_two_processes_train_the_same_weights_within_rounding(projects, other):
    """With the same images per step, for each way to shard the weights and the optimiser."""
    one, two = weights(projects / "zero0", "activate"), weights(projects / other, "activate")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=1e-3)
    for stage in ("activate", "train"):
        losses = [metrics(projects / name, stage)["val_loss"] for name in ("zero0", other)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_two_processes_show_one_progress_bar(projects):
    assert "activate: 12/12 images" in (projects / "zero2" / "log-0.txt").read_text()
    assert "images" not in (projects / "zero2" / "log-1.txt").read_text()


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_number_of_cycle_images_does_not_depend_on_the_processes(monkeypatch, processes):
    """3 of the 6 images of a step are from the cycle, divided among the processes like the others."""
    own = toy.settings(
        train__batch_size=6, train__cycle__image_fraction=0.5, train__cycle__start=0.0, train__cycle__ramp=0.0
    )
    sampler = InstructionSampler(toy.of_split("train"), own.train.tasks, 2, own.seed)
    cycle = Cycle(own.train.cycle, own.train.tasks, own.train.steps, own.seed)
    extra = Example(toy.instructions()[0], -1.0)  # no other weight is below 0
    cycle.kept = {image_id: [extra] for image_id in sampler.ids[:5]}
    monkeypatch.setattr(Schedule, "is_due", lambda *_: False)
    empty: dict[str, Any] = {"held_out": {}, "validation": [], "seed": own.seed}
    run = TrainingRun("train", own.train, toy.with_grammars(), toy.records(), sampler, cycle=cycle, **empty)
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    weighted, images = 0, []
    for number in range(processes):
        monkeypatch.setenv("RANK", str(number))
        batch = loop._Trainer(
            run, None, PlainModel(run.model.network, False), torch.device("cpu"), History(), print
        )._batch(0)
        assert len(batch.inputs["input_ids"]) == 6 // processes
        weighted += int((batch.weights < 0).any(1).sum())
        images += [image.sum().item() for image in batch.inputs["pixel_values"]]
    of_cycle = cycle.sample(0, 6)
    files = [toy.records()[image_id].image for image_id in [*sampler.image_ids(0, 6)[:3], *of_cycle]]
    expected = [image.sum().item() for image in load_pixels(files, toy.model().config)]
    assert sorted(images) == pytest.approx(sorted(expected)) and weighted == len(of_cycle) == 3


class FakeEngine:
    """The part of DeepSpeed's engine that the trainer uses; each optimiser step adds 1 to every weight."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.module = network

    def __call__(self, **inputs: Any) -> SimpleNamespace:
        """A loss without a gradient."""
        return SimpleNamespace(loss=torch.tensor(1.0))

    def train(self) -> None:
        """Nothing to do."""

    def backward(self, loss: torch.Tensor) -> None:
        """Nothing to do."""

    def step(self) -> None:
        """One step."""
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.add_(1.0)


def test_the_averaged_teacher_follows_every_step_of_the_cycle(monkeypatch):
    """It follows once the cycle has begun: step 0 does not move it, the steps 1 and 2 do."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda _: None)
    changes = {"start": 0.25, "ramp": 0.0, "refresh": 99, "teacher": 0.75}
    own = toy.settings(train__steps=4, **{f"train__cycle__{name}": value for name, value in changes.items()})
    sampler = InstructionSampler(toy.of_split("train"), own.train.tasks, 2, own.seed)
    cycle = Cycle(own.train.cycle, own.train.tasks, own.train.steps, own.seed)
    assert cycle.teacher is not None
    monkeypatch.setattr(cycle, "refresh", lambda *_: {})
    empty: dict[str, Any] = {"held_out": {}, "validation": [], "seed": own.seed}
    run = TrainingRun("train", own.train, toy.with_grammars(), toy.records(), sampler, cycle=cycle, **empty)
    network = run.model.network
    start = [parameter.detach().clone() for parameter in cycle.teacher.of(network).parameters()]
    plain = PlainModel(network, False)
    trainer = loop._Trainer(run, FakeEngine(network), plain, torch.device("cpu"), History(), print)
    moved, expected = [], [0.0, 0.25 * 2, 0.75 * 0.5 + 0.25 * 3]  # decay x its own change + (1 - decay) x the network's
    for step in range(3):
        trainer.step(step)
        moved.append(float((next(iter(cycle.teacher.of(network).parameters())) - start[0]).mean()))
    assert moved == pytest.approx(expected, abs=1e-4)


def test_memory_is_released_if_glibc_is_there(monkeypatch):
    asked: list[int] = []
    glibc = type("Library", (), {"malloc_trim": staticmethod(asked.append)})
    monkeypatch.setattr(loop.ctypes, "CDLL", lambda _: glibc)
    loop.release_memory()
    assert asked == [0]
    monkeypatch.setattr(loop.ctypes, "CDLL", lambda _: object())  # another C library
    loop.release_memory()
    assert asked == [0]
