"""The training loop of `activate` and `train`: sample, pack, cycle, optimiser step; validate and save now and then."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from vilam.config import OptimiserSettings
from vilam.cycle.cycle import Cycle
from vilam.cycle.examples import Example
from vilam.data.instructions import Instruction
from vilam.inference.answering import Records
from vilam.inference.model import Model
from vilam.launch import Processes, rank, world_size
from vilam.models.device import autocast, precision
from vilam.models.interface import GroundingModel
from vilam.progress import Progress
from vilam.training.batching import Batch, collate
from vilam.training.checkpoint import Checkpoints
from vilam.training.engine import plain_model, start_distributed, start_engine
from vilam.training.sampling import InstructionSampler
from vilam.training.validation import collapsed, validate

LOG_EVERY = 20
Log = Callable[[Mapping[str, float], int], None]
"""Takes numbers by name and the optimiser step at which they were measured."""


@dataclass(frozen=True, slots=True)
class Job:
    """The model, data and settings of a run.

    held_out: records of the validation images. validation: the instructions about these.
    """

    name: str
    settings: OptimiserSettings
    model: Model
    records: Records
    sampler: InstructionSampler
    held_out: Records
    validation: Sequence[Instruction]
    cycle: Cycle | None
    seed: int


@dataclass(slots=True)
class History:
    """Measured numbers by optimiser step: ``[{"step": 20, "loss": ...}, ...]``; ``images`` counts training images."""

    rows: list[dict[str, float]] = field(default_factory=list)
    images: int = 0

    def add(self, step: int, measured: Mapping[str, float]) -> None:
        """Adds numbers of a step; those of one step are in one row."""
        if self.rows and self.rows[-1]["step"] == step:
            self.rows[-1].update(measured)
        else:
            self.rows.append({"step": step, **measured})


def fit(job: Job, root: Path, checkpoints: Checkpoints, log: Log) -> tuple[GroundingModel, History]:
    """Trains to the end from the last checkpoint on; returns the network (complete on rank 0) and its history."""
    torch.manual_seed(job.seed)
    device = start_distributed()
    network = job.model.network.to(device)
    if job.settings.gradient_checkpointing:
        network.enable_gradient_checkpointing()
    engine = start_engine(network, job.settings, root)
    history = History()
    first = 0
    if state := checkpoints.load(engine):
        first, history = int(state["step"]), History(state["history"], state["images"])
        if job.cycle is not None:
            job.cycle.load(state["cycle"], network)
    trainer = _Trainer(job, engine, device, history, log)
    with _progress(job, first) as progress:
        for step in range(first, job.settings.steps):
            loss = trainer.step(step)
            progress.advance(job.settings.batch_size, loss=loss)
            done = step + 1
            if done % LOG_EVERY == 0:
                release_memory()
            if done % job.settings.validate_every == 0 or done == job.settings.steps:
                trainer.validate(done)
            if done % job.settings.checkpoint_every == 0 and done < job.settings.steps:
                cycle = None if job.cycle is None else job.cycle.state()
                checkpoints.save(engine, done, {"history": history.rows, "images": history.images, "cycle": cycle})
    with plain_model(engine, network) as trained:
        return trained, history


def release_memory() -> None:
    """Returns free memory to the system: batches of many different lengths leave holes in glibc's heap.

    Without it the default run grows to 5.2 GB in 2,000 steps. Without glibc it does nothing.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _progress(job: Job, first: int) -> Progress:
    size = job.settings.batch_size
    stream = None if rank() == 0 else StringIO()  # one bar for all processes
    return Progress(job.settings.steps * size, job.name, "images", done=first * size, stream=stream)


class _Trainer:
    """One optimiser step after another."""

    def __init__(self, job: Job, engine: Any, device: torch.device, history: History, log: Log) -> None:
        self.job, self.engine, self.device, self.history, self.log = job, engine, device, history, log
        self.loss = 0.0

    def step(self, step: int) -> float:
        """Trains on the images of a step; returns the loss, averaged over recent steps."""
        batch = self._batch(step).to(self.device)
        totals = self.job.model.network.loss_totals(batch.labels, batch.weights, batch.policy)
        torch.distributed.all_reduce(totals)
        # Processes hold different numbers of tokens, and DeepSpeed averages over processes: dividing by the mean total
        # makes the gradient that of one process.
        self.engine.train()
        output = self.engine(
            **batch.inputs,
            labels=batch.labels,
            weights=batch.weights,
            totals=totals / world_size(),
            coordinate_sigma=self.job.settings.coordinate_sigma,
            pointing_weight=self.job.settings.pointing_weight,
            policy=batch.policy,
            kl=self.job.cycle.settings.kl if self.job.cycle else 0.0,
            soft_answers=batch.soft_answers,
        )
        self.engine.backward(output.loss)
        self.engine.step()
        self._update_teacher(step)
        self._log_loss(step, output.loss.detach())
        return self.loss

    def _log_loss(self, step: int, loss: torch.Tensor) -> None:
        torch.distributed.all_reduce(loss)
        value = float(loss) / world_size()
        self.loss = value if step == 0 else 0.95 * self.loss + 0.05 * value if self.loss else value
        self.history.images += self.job.settings.batch_size
        if (step + 1) % LOG_EVERY == 0:
            self._log(step + 1, {"loss": value, "learning_rate": self.engine.get_lr()[0]})

    def _batch(self, step: int) -> Batch:
        """This process's part of a step's images, each with its instructions, including those of the cycle."""
        job = self.job
        of_cycle = self._cycle_examples(job.cycle, step) if job.cycle is not None else {}
        others = job.sampler.image_ids(step, job.settings.batch_size)[: job.settings.batch_size - len(of_cycle)]
        rows: list[tuple[str, list[Example]]] = [(image_id, []) for image_id in others] + list(of_cycle.items())
        own = rows[rank() :: world_size()]
        examples = [made + job.sampler.sample(image_id, step, made) for image_id, made in own]
        return collate(job.model, [job.records[image_id].image for image_id, _ in own], examples)

    def _cycle_examples(self, cycle: Cycle, step: int) -> dict[str, list[Example]]:
        """The cycle's images and examples of a step; the cycle's examples are renewed if they are due."""
        if cycle.schedule.is_due(step):
            processes = Processes(rank(), world_size())
            with self._plain_model() as model:
                instructions, iteration = self.job.sampler.images, cycle.schedule.iteration(step)
                measured = cycle.refresh(model, self.job.records, instructions, iteration, processes)
            self._log(step + 1, measured)
        return cycle.sample(step, self.job.settings.batch_size)

    def _update_teacher(self, step: int) -> None:
        cycle = self.job.cycle
        if cycle is not None and cycle.teacher is not None and cycle.schedule.weight(step) > 0:
            with plain_model(self.engine, self.job.model.network) as network:
                cycle.follow(network)

    def _log(self, step: int, measured: Mapping[str, float]) -> None:
        self.history.add(step, measured)
        self.log({f"{self.job.name}/{name}": number for name, number in measured.items()}, step)

    @contextmanager
    def _plain_model(self) -> Iterator[Model]:
        """The model as it is now, multiplying in the precision of the run."""
        network = self.job.model.network
        with plain_model(self.engine, network) as plain, autocast(plain, precision(self.job.settings.precision)):
            yield replace(self.job.model, network=plain)

    def validate(self, step: int) -> None:
        """Measures on held-out images; every process does the same work, so no process waits."""
        with self._plain_model() as model:
            measured = validate(model, self.job.held_out, self.job.validation)
        before = next((row for row in self.history.rows if "val_entropy" in row), {})
        if rank() == 0 and (alarm := collapsed(measured, before)):
            print(f"\n{self.job.name}: step {step}: {alarm}", file=sys.stderr)
        self._log(step, measured)
