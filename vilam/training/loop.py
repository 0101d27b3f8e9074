"""The training loop of both steps: draw, pack, cycle, one optimiser step; validate and save now and then."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from vilam.config import OptimiserSettings
from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard
from vilam.inference.answering import Records, autocast
from vilam.models.device import precision
from vilam.models.family import GroundingModel, Tokens
from vilam.progress import Progress
from vilam.training.batching import Batch, collate
from vilam.training.checkpoint import Checkpoints
from vilam.training.cycle import Cycle
from vilam.training.engine import rank, start_distributed, start_engine, world_size
from vilam.training.replica import plain_model
from vilam.training.sampling import Example, InstructionSampler
from vilam.training.validation import collapsed, validate

LOG_EVERY = 20


@dataclass(frozen=True, slots=True)
class Job:
    """All that a run trains on. ``validation``: instructions of held-out images, of the records in ``held_out``."""

    name: str
    settings: OptimiserSettings
    model: GroundingModel
    tokenizer: Tokens
    card: DatasetCard
    records: Records
    sampler: InstructionSampler
    held_out: Records
    validation: Sequence[Instruction]
    cycle: Cycle | None
    seed: int


@dataclass(slots=True)
class History:
    """What was measured, by step: ``[{"step": 20, "loss": ...}, ...]``; ``images`` counts training images seen."""

    rows: list[dict[str, float]] = field(default_factory=list)
    images: int = 0

    def add(self, step: int, measured: Mapping[str, float]) -> None:
        """Note numbers of a step; those of one step share a row."""
        if self.rows and self.rows[-1]["step"] == step:
            self.rows[-1].update(measured)
        else:
            self.rows.append({"step": step, **measured})


def fit(
    job: Job, root: Path, checkpoints: Checkpoints, log: Callable[[Mapping[str, float], int], None]
) -> tuple[GroundingModel, History]:
    """Train to the end, going on from the last checkpoint; returns the model (whole on rank 0) and its history."""
    torch.manual_seed(job.seed)
    device = start_distributed()
    job.model.to(device)
    if job.settings.gradient_checkpointing:
        job.model.recompute()
    engine = start_engine(job.model, job.settings, root)
    history = History()
    first = 0
    if state := checkpoints.load(engine):
        first, history = int(state["step"]), History(state["history"], state["images"])
        if job.cycle is not None:
            job.cycle.load(state["cycle"], job.model)
    trainer = _Trainer(job, engine, device, history, log)
    with _progress(job, first) as progress:
        for step in range(first, job.settings.steps):
            loss = trainer.step(step)
            progress.advance(job.settings.batch_size, loss=loss)
            done = step + 1
            if done % LOG_EVERY == 0:
                give_back_memory()
            if done % job.settings.validate_every == 0 or done == job.settings.steps:
                trainer.validate(done)
            if done % job.settings.checkpoint_every == 0 and done < job.settings.steps:
                cycle = None if job.cycle is None else job.cycle.state()
                checkpoints.save(engine, done, {"history": history.rows, "images": history.images, "cycle": cycle})
    with plain_model(engine, job.model) as model:
        return model, history


def give_back_memory() -> None:
    """Return what is free to the system: batches of ever new lengths leave glibc's heap full of holes.

    Without it the default run grows to 5.2 GB in 2,000 steps. Nothing is done where there is no glibc.
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

    def __init__(
        self,
        job: Job,
        engine: Any,
        device: torch.device,
        history: History,
        log: Callable[[Mapping[str, float], int], None],
    ) -> None:
        self.job, self.engine, self.device, self.history, self.log = job, engine, device, history, log
        self.loss = 0.0

    def step(self, step: int) -> float:
        """Train on the images of a step; returns the loss, averaged over recent steps."""
        batch = self._batch(step).to(self.device)
        totals = self.job.model.loss_totals(batch.labels, batch.weights, batch.policy)
        torch.distributed.all_reduce(totals)
        # Ranks hold different numbers of tokens and DeepSpeed averages over ranks: so the gradient is that of one rank.
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
            middle=batch.middle,
        )
        self.engine.backward(output.loss)
        self.engine.step()
        self._teach(step)
        self._note(step, output.loss.detach())
        return self.loss

    def _note(self, step: int, loss: torch.Tensor) -> None:
        torch.distributed.all_reduce(loss)
        value = float(loss) / world_size()
        self.loss = value if step == 0 else 0.95 * self.loss + 0.05 * value if self.loss else value
        self.history.images += self.job.settings.batch_size
        if (step + 1) % LOG_EVERY == 0:
            self._tell(step + 1, {"loss": value, "learning_rate": self.engine.get_lr()[0]})

    def _batch(self, step: int) -> Batch:
        """This rank's share of a step's images, each with its instructions, those of the cycle among them."""
        job = self.job
        cycled = self._cycled(job.cycle, step) if job.cycle is not None else {}
        drawn = job.sampler.image_ids(step, job.settings.batch_size)[: job.settings.batch_size - len(cycled)]
        rows: list[tuple[str, list[Example]]] = [(image_id, []) for image_id in drawn] + list(cycled.items())
        own = rows[rank() :: world_size()]
        examples = [made + job.sampler.draw(image_id, step, made) for image_id, made in own]
        return collate([job.records[image_id].image for image_id, _ in own], examples, job.tokenizer, job.model)

    def _cycled(self, cycle: Cycle, step: int) -> dict[str, list[Example]]:
        """The images of a step that go round; new middles are made where it is time."""
        steps = self.job.settings.steps
        if cycle.due(step, steps):
            with self._plain() as model, autocast(model, precision(self.job.settings.precision)):
                turn = (step - cycle.first(steps)) // cycle.settings.refresh
                measured = cycle.refresh(model, self.job.records, self.job.sampler.images, turn)
            self._tell(step + 1, measured)
        return cycle.draw(step, self.job.settings.batch_size, cycle.weight(step, steps))

    def _teach(self, step: int) -> None:
        """Let the cycle's teacher follow the model, where there is one."""
        cycle = self.job.cycle
        if cycle is not None and cycle.teacher is not None and cycle.weight(step, self.job.settings.steps) > 0:
            with self._plain() as model:
                cycle.teacher.follow(model)

    def _tell(self, step: int, measured: Mapping[str, float]) -> None:
        self.history.add(step, measured)
        self.log({f"{self.job.name}/{name}": number for name, number in measured.items()}, step)

    def _plain(self) -> AbstractContextManager[GroundingModel]:
        return plain_model(self.engine, self.job.model)

    def validate(self, step: int) -> None:
        """Measure on held-out images; every rank does the same work, so that none waits for another."""
        with self._plain() as model, autocast(model, precision(self.job.settings.precision)):
            measured = validate(model, self.job.tokenizer, self.job.card, self.job.held_out, self.job.validation)
        before = next((row for row in self.history.rows if "val_entropy" in row), {})
        if rank() == 0 and (alarm := collapsed(measured, before)):
            print(f"\n{self.job.name}: step {step}: {alarm}", file=sys.stderr)
        self._tell(step, measured)
