"""Batches ahead of the optimiser: worker processes decode, process and pack the pictures of the next steps.

What a batch holds is decided in this process, step by step; workers only turn it into tensors. So the batches are the
same for any number of workers, and a run that is resumed needs nothing of them.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.util import Finalize
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from vilam.cycle.examples import Example
from vilam.errors import VilamError
from vilam.inference.model import Model
from vilam.training.batching import Batch, collate

AHEAD = 2
"""Batches that each worker holds ready."""
MOST = 8
"""Workers for a GPU, at most."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a step trains on: encoded pictures, and the examples about each."""

    images: Sequence[bytes]
    examples: Sequence[Sequence[Example]]


class _Collated(Dataset["Batch | VilamError"]):
    """Batches by their rows: a worker gets its items as they come."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def __getitem__(self, rows: Rows) -> Batch | VilamError:
        try:
            return collate(self.model, rows.images, rows.examples)
        except VilamError as error:
            return error  # the loader would put a traceback into its message


def num_workers(setting: int | None, processes: int) -> int:
    """The number of worker processes; if it is not set, some for a GPU, and none on a CPU, which has to train too.

    processes: that train on this machine. Workers need fork, which Linux has.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        return 0
    if setting is not None:
        return setting
    return min(MOST, (os.cpu_count() or 1) // processes) if torch.cuda.is_available() else 0


def _end_alone(_: int) -> None:
    """Let a worker end without what libraries of the process that it was forked from do at their end.

    If any of that fails, the loader takes the worker for broken.
    """
    Finalize(None, os._exit, (0,), exitpriority=-100)  # the last of a process of multiprocessing


def batches(model: Model, steps: Iterable[Rows], workers: int) -> Iterator[Batch]:
    """The batch of each step; in pinned memory where a GPU takes it. Raises VilamError as `collate` does."""
    if not workers:
        yield from (collate(model, rows.images, rows.examples) for rows in steps)
        return
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive a fork
    loader: Any = DataLoader(
        _Collated(model),
        batch_size=None,
        sampler=cast("Iterable[int]", steps),
        num_workers=workers,
        prefetch_factor=AHEAD,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="fork",
        worker_init_fn=_end_alone,
        generator=torch.Generator(),  # the seeds of workers; from torch's own generator they would change dropout
    )
    for batch in loader:
        if isinstance(batch, VilamError):
            raise batch
        yield batch
