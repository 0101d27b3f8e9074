"""Whole runs: killed and gone on with, by one process and by two.

SLOW: one subprocess (tests/runs.py) does all of them in a row, about half a minute.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from safetensors.torch import load_file

from vilam.models.images import load_pixels
from vilam.training import loop
from vilam.training.cycle import Cycle
from vilam.training.loop import History, Job
from vilam.training.sampling import Example, InstructionSampler


def weights(project: Path, stage: str = "train") -> dict[str, torch.Tensor]:
    """The trained weights."""
    return load_file(project / "models" / stage / "model.safetensors")


def curve(project: Path, stage: str = "train") -> list[dict[str, str]]:
    with (project / "metrics" / "plots" / f"{stage}_loss.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def metrics(project: Path, stage: str = "train") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project / "metrics" / f"{stage}.json").read_text())
    return content


def test_training_changes_all_that_is_not_frozen(projects):
    before, after = weights(projects / "whole", "activate"), weights(projects / "whole")
    assert before.keys() == after.keys()
    unchanged = [name for name in before if torch.equal(before[name], after[name])]
    assert not unchanged and all(value.isfinite().all() for value in after.values())


def test_a_run_killed_twice_ends_with_the_same_weights_bit_for_bit(projects):
    whole, killed = weights(projects / "whole"), weights(projects / "killed")
    assert whole.keys() == killed.keys()
    assert not [name for name in whole if not torch.equal(whole[name], killed[name])]


def test_a_run_killed_twice_tells_the_same_curve(projects):
    assert curve(projects / "killed") == curve(projects / "whole")
    assert metrics(projects / "killed") == metrics(projects / "whole")
    assert metrics(projects / "whole")["steps"] == toy.STEPS
    assert metrics(projects / "whole")["images"] == toy.STEPS * toy.RUN["batch_size"]


def test_it_went_on_where_it_was_killed(projects):
    log = (projects / "killed" / "log-3.txt").read_text()
    left = (projects / "killed" / "left.txt").read_text()
    assert "step-000004/manifest.json" in left and "step-000006/manifest.json" not in left
    assert "train: 8/16 images" in log  # it began after step 4 of 8
    assert "step-000006: not finished: passed over" in log
    assert "train" not in (projects / "killed" / "models-then.txt").read_text().split()  # no half model
    assert not list(projects.glob("killed/checkpoints/train/*"))  # forgotten once done


def test_a_run_gone_on_with_is_one_run_of_mlflow(projects):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{projects / 'killed' / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("vilam")
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"]
    trained = json.loads((projects / "killed" / "models" / "train" / "run.json").read_text())
    assert runs[0].info.run_id == trained["run_id"]
    assert runs[0].data.metrics["train/val_loss"] == pytest.approx(metrics(projects / "killed")["val_loss"])


@pytest.mark.parametrize("other", ["zero2", "zero3"])
def test_two_processes_end_within_rounding_of_one(projects, other):
    """Of the same images a step, whatever way the weights and the optimiser are spread."""
    one, two = weights(projects / "zero0", "activate"), weights(projects / other, "activate")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=1e-3)
    for stage in ("activate", "train"):
        losses = [metrics(projects / name, stage)["val_loss"] for name in ("zero0", other)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_two_processes_show_one_bar(projects):
    assert "activate: 12/12 images" in (projects / "zero2" / "log-0.txt").read_text()
    assert "images" not in (projects / "zero2" / "log-1.txt").read_text()


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_as_many_images_go_round_whatever_the_number_of_processes(monkeypatch, processes):
    """Of a step of 6 images 3 go round, spread over the processes like the others."""
    own = toy.settings(train__batch_size=6, train__cycle__share=0.5, train__cycle__start=0.0, train__cycle__ramp=0.0)
    sampler = InstructionSampler(toy.of_split("train"), own.train.tasks, 2, own.seed)
    cycle = Cycle(own.train.cycle, own.train.tasks, toy.tokenizer(), toy.card(), own.seed)
    extra = Example(toy.instructions()[0], -1.0)  # no other weight is below 0
    cycle.kept = {image_id: [extra] for image_id in sampler.ids[:5]}
    monkeypatch.setattr(cycle, "due", lambda *_: False)
    empty: dict[str, Any] = {"held_out": {}, "validation": [], "seed": own.seed}
    job = Job(
        "train", own.train, toy.model(), toy.tokenizer(), toy.card(), toy.records(), sampler, cycle=cycle, **empty
    )
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    weighed, pictures = 0, []
    for number in range(processes):
        monkeypatch.setenv("RANK", str(number))
        batch = loop._Trainer(job, None, torch.device("cpu"), History(), print)._batch(0)
        assert len(batch.inputs["input_ids"]) == 6 // processes
        weighed += int((batch.weights < 0).any(1).sum())
        pictures += [picture.sum().item() for picture in batch.inputs["pixel_values"]]
    cycled = cycle.draw(0, 6, 1.0)
    images = [toy.records()[image_id].image for image_id in [*sampler.image_ids(0, 6)[:3], *cycled]]
    expected = [picture.sum().item() for picture in load_pixels(images, toy.model().config)]
    assert sorted(pictures) == pytest.approx(sorted(expected)) and weighed == len(cycled) == 3


def test_memory_is_given_back_where_it_can_be(monkeypatch):
    asked: list[int] = []
    glibc = type("Library", (), {"malloc_trim": staticmethod(asked.append)})
    monkeypatch.setattr(loop.ctypes, "CDLL", lambda _: glibc)
    loop.give_back_memory()
    assert asked == [0]
    monkeypatch.setattr(loop.ctypes, "CDLL", lambda _: object())  # another C library
    loop.give_back_memory()
    assert asked == [0]
