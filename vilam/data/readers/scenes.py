"""Generated scenes as a source."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import parent_process

from vilam.config import ScenesSettings
from vilam.data.readers.source import RawRecord, Source
from vilam.data.records import ImageRecord
from vilam.data.scenes import CATEGORIES, LICENCE, generate_scene, keypoint_schemas

BATCH = 100
"""Scenes that a worker process makes at a time."""
POOL_FROM = 1000
"""Number of scenes of a split from which worker processes are faster."""

Job = tuple[int, int, int, str, int]


def open_scenes(settings: ScenesSettings, seed: int) -> Source:
    """All splits of the settings, in the order of the settings."""
    rows = (RawRecord(record, f"scene {record.image_id}") for record in read_scenes(settings, seed))
    splits = tuple(settings.num_images)
    total = sum(settings.num_images.values())
    return Source("scenes", CATEGORIES, keypoint_schemas(), splits, (LICENCE,), total, rows, is_exhaustive=True)


def read_scenes(settings: ScenesSettings, seed: int) -> Iterator[ImageRecord]:
    """Generate every scene in order; large splits are made by two processes, with the same result."""
    for split, count in settings.num_images.items():
        jobs = [
            (seed, start, min(start + BATCH, count), split, settings.image_size) for start in range(0, count, BATCH)
        ]
        yield from _in_parallel(jobs) if count >= POOL_FROM else (scene for job in jobs for scene in _make(job))


def _make(job: Job) -> list[ImageRecord]:
    seed, start, stop, split, image_size = job
    return [generate_scene(seed, index, split, image_size) for index in range(start, stop)]


def _in_parallel(jobs: list[Job]) -> Iterator[ImageRecord]:
    """The jobs' scenes in order, only a few batches ahead of the caller, to save memory."""
    workers = min(2, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, initializer=_start_worker) as pool:
        waiting = iter(jobs)
        running = [pool.submit(_make, job) for job in islice(waiting, 2 * workers)]
        while running:
            yield from running.pop(0).result()
            running += [pool.submit(_make, job) for job in islice(waiting, 1)]


def _start_worker() -> None:
    """Leave interrupts to the parent process, and end when it ends, also if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
