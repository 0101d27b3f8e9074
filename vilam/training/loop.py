"""The training loop of `activate` and `train`: sample, pack, cycle, optimiser step; validate and save now and then."""

from __future__ import annotations

import ctypes
import sys
import time
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
from vilam.training.batching import Batch
from vilam.training.checkpoint import Checkpoints
from vilam.training.engine import start_distributed, start_engine
from vilam.training.loading import Rows, batches, num_workers
from vilam.training.plain import PlainModel
from vilam.training.sampling import InstructionSampler
from vilam.training.validation import collapsed, validate

LOG_EVERY = 20
Log = Callable[[Mapping[str, float], int], None]
"""Takes numbers by name and the optimiser step at which they were measured."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
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


def fit(run: TrainingRun, root: Path, checkpoints: Checkpoints, log: Log) -> tuple[GroundingModel, History]:
    """Trains to the end from the last checkpoint on; returns the network (complete on rank 0) and its history."""
    torch.manual_seed(run.seed)
    device = start_distributed()
    network = run.model.network.to(device)
    if run.settings.gradient_checkpointing:
        network.enable_gradient_checkpointing()
    engine, plain = start_engine(network, run.settings, root)
    history = History()
    first = 0
    if state := checkpoints.load(engine):
        first, history = int(state["step"]), History(state["history"], state["images"])
        if run.cycle is not None:
            with plain.gathered() as whole:
                run.cycle.load(state["cycle"], whole)
    trainer = _Trainer(run, engine, plain, device, history, log)
    with _progress(run, first) as progress:
        for step in range(first, run.settings.steps):
            loss = trainer.step(step)
            progress.advance(run.settings.batch_size, loss=loss)
            done = step + 1
            if done % LOG_EVERY == 0:
                release_memory()
            if done % run.settings.validate_every == 0 or done == run.settings.steps:
                trainer.validate(done)
            if done % run.settings.checkpoint_every == 0 and done < run.settings.steps:
                cycle = None if run.cycle is None else run.cycle.state()
                checkpoints.save(engine, done, {"history": history.rows, "images": history.images, "cycle": cycle})
    return plain.trained(), history


def release_memory() -> None:
    """Returns free memory to the system: batches of many different lengths leave holes in glibc's heap.

    Without it the default run grows to 5.2 GB in 2,000 steps. Without glibc it does nothing.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _progress(run: TrainingRun, first: int) -> Progress:
    size = run.settings.batch_size
    stream = None if rank() == 0 else StringIO()  # one bar for all processes
    return Progress(run.settings.steps * size, run.name, "images", done=first * size, stream=stream)


class _Trainer:
    """One optimiser step after another."""

    def __init__(
        self, run: TrainingRun, engine: Any, plain: PlainModel, device: torch.device, history: History, log: Log
    ) -> None:
        self.run, self.engine, self.plain = run, engine, plain
        self.device, self.history, self.log = device, history, log
        self.loss = 0.0
        self.workers = num_workers(run.settings.workers, world_size())
        self.ahead: Iterator[Batch] = iter(())
        self.end, self.waited = 0, 0.0
        self.began = time.perf_counter()

    def step(self, step: int) -> float:
        """Trains on the images of a step; returns the loss, averaged over recent steps."""
        batch = self._batch(step).to(self.device)
        totals = self.run.model.network.loss_totals(batch.labels, batch.weights, batch.policy)
        torch.distributed.all_reduce(totals)
        # Processes hold different numbers of tokens, and DeepSpeed averages over processes: dividing by the mean total
        # makes the gradient that of one process.
        self.engine.train()
        output = self.engine(
            **batch.inputs,
            labels=batch.labels,
            weights=batch.weights,
            totals=totals / world_size(),
            coordinate_sigma=self.run.settings.coordinate_sigma,
            pointing_weight=self.run.settings.pointing_weight,
            policy=batch.policy,
            kl=self.run.cycle.settings.kl if self.run.cycle else 0.0,
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
        self.history.images += self.run.settings.batch_size
        if (step + 1) % LOG_EVERY == 0:
            self._log(step + 1, {"loss": value, "learning_rate": self.engine.get_lr()[0]})
            now = time.perf_counter()
            self.log({f"{self.run.name}/waiting_for_input": self.waited / (now - self.began)}, step + 1)
            self.waited, self.began = 0.0, now

    def _batch(self, step: int) -> Batch:
        """This process's part of a step's images, prepared ahead until the cycle's examples change."""
        run = self.run
        if step >= self.end:
            if run.cycle is not None:
                self._refresh(run.cycle, step)
            self.end = run.settings.steps if run.cycle is None else run.cycle.schedule.next_due(step)
            self.ahead = batches(run.model, map(self._rows, range(step, self.end)), self.workers)
        began = time.perf_counter()
        batch = next(self.ahead)
        self.waited += time.perf_counter() - began
        return batch

    def _rows(self, step: int) -> Rows:
        """This process's part of a step's images, each with its instructions, including those of the cycle."""
        run = self.run
        of_cycle = run.cycle.sample(step, run.settings.batch_size) if run.cycle is not None else {}
        others = run.sampler.image_ids(step, run.settings.batch_size)[: run.settings.batch_size - len(of_cycle)]
        rows: list[tuple[str, list[Example]]] = [(image_id, []) for image_id in others] + list(of_cycle.items())
        own = rows[rank() :: world_size()]
        examples = [made + run.sampler.sample(image_id, step, made) for image_id, made in own]
        return Rows([run.records[image_id].image for image_id, _ in own], examples)

    def _refresh(self, cycle: Cycle, step: int) -> None:
        """Renew the cycle's examples if they are due."""
        if cycle.schedule.is_due(step):
            processes = Processes(rank(), world_size())
            with self._plain_model() as model:
                instructions, iteration = self.run.sampler.images, cycle.schedule.iteration(step)
                measured = cycle.refresh(model, self.run.records, instructions, iteration, processes)
            self._log(step + 1, measured)

    def _update_teacher(self, step: int) -> None:
        cycle = self.run.cycle
        if cycle is not None and cycle.teacher is not None and cycle.schedule.weight(step) > 0:
            with self.plain.gathered() as network:
                cycle.follow(network)

    def _log(self, step: int, measured: Mapping[str, float]) -> None:
        self.history.add(step, measured)
        self.log({f"{self.run.name}/{name}": number for name, number in measured.items()}, step)

    @contextmanager
    def _plain_model(self) -> Iterator[Model]:
        """The model as it is now, multiplying in the precision of the run."""
        with self.plain.gathered() as network, autocast(network, precision(self.run.settings.precision)):
            yield replace(self.run.model, network=network)

    def validate(self, step: int) -> None:
        """Measures on held-out images; every process does the same work, so no process waits."""
        with self._plain_model() as model:
            measured = validate(model, self.run.held_out, self.run.validation)
        before = next((row for row in self.history.rows if "val_entropy" in row), {})
        if rank() == 0 and (alarm := collapsed(measured, before)):
            print(f"\n{self.run.name}: step {step}: {alarm}", file=sys.stderr)
        self._log(step, measured)
