"""Runs jobs, some side by side, each as ``python -m vilam STAGE`` in its folder, and measures the time of each.

Processor seconds are the user and system time of a stage's process and of all that it started and waited for, as the
system counts them. Seconds by the clock stand beside them and are compared with nothing: runs side by side on shared
cores slow each other. A stage that was cut off begins anew, so that what it took is one whole training.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, Protocol

import vilam
from vilam.ablation.jobs import Job, Spent
from vilam.config import yaml_text
from vilam.files import write_atomically

POLL_SECONDS = 0.05


class Child(Protocol):
    """A process that was started, as `subprocess.Popen` is one."""

    pid: int
    returncode: int | None


Launch = Callable[[Job], Child]
"""Starts the stage of a job in its folder, with its output in the job's log."""
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Launcher:
    """``python -m vilam STAGE`` with the same code as this process; MLflow's runs go to the project's own folder."""

    root: Path
    threads: int
    tags: Mapping[str, str]

    def __call__(self, job: Job) -> Child:
        """Start it."""
        with log_file(job).open("wb") as log:
            command = [sys.executable, "-m", "vilam", job.stage]
            return subprocess.Popen(
                command, cwd=job.folder, env=self.environment(job), stdout=log, stderr=subprocess.STDOUT
            )

    def environment(self, job: Job) -> dict[str, str]:
        """The environment of the stage: threads, the folder of MLflow's runs, the name and tags of its run there."""
        from vilam.tracking.address import runs_folder

        code = [str(Path(vilam.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        name = f"{job.tags.get('ablation', '')} {job.label}".strip()
        return {
            **os.environ,
            "OMP_NUM_THREADS": str(self.threads),
            "PYTHONPATH": os.pathsep.join(code),
            "VILAM_MLRUNS": str(runs_folder(self.root)),
            "VILAM_RUN_NAME": name,
            "VILAM_RUN_TAGS": json.dumps({**self.tags, **job.tags}),
        }


def log_file(job: Job) -> Path:
    """The file of a job's output."""
    return job.folder / "logs" / f"{job.stage}.txt"


class Runner:
    """Runs jobs, at most ``parallel`` at a time; ``report`` gets a line for each that ends."""

    def __init__(self, parallel: int, launch: Launch, configs: Path, report: Report) -> None:
        """``configs``: the project's folder of settings files, which every folder gets a link to."""
        self.parallel, self.launch, self.configs, self.report = parallel, launch, configs, report
        self.failures: list[str] = []

    def run(self, jobs: Iterable[Job]) -> None:
        """Run all that is not finished, each after what it needs; a job that needs a failed one is left out."""
        distinct = {job.done_file: job for job in jobs}
        waiting = {done_file: job for done_file, job in distinct.items() if job.spent() is None}
        self.total = len(waiting)
        running: dict[int, tuple[Job, Child, float]] = {}
        before = signal.signal(
            signal.SIGTERM, _stop
        )  # else the children would continue in folders that the next run starts anew
        try:
            while waiting or running:
                busy = [job for job, _, _ in running.values()]
                ready = next((job for job in waiting.values() if _ready(job, waiting, busy)), None)
                if ready is not None and len(running) < self.parallel:
                    del waiting[ready.done_file]
                    child = self._start(ready)
                    running[child.pid] = ready, child, time.monotonic()
                elif running:
                    self._reap(running, waiting)
                else:
                    raise AssertionError("jobs that wait for each other")
        finally:
            for _, child, _ in running.values():
                _end(child)
            signal.signal(signal.SIGTERM, before)

    def _start(self, job: Job) -> Child:
        prepare_folder(job, self.configs)
        return self.launch(job)

    def _reap(self, running: dict[int, tuple[Job, Child, float]], waiting: dict[Path, Job]) -> None:
        for pid, (job, child, began) in list(running.items()):
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                del running[pid]
                child.returncode = os.waitstatus_to_exitcode(status)
                seconds = time.monotonic() - began
                if child.returncode == 0:
                    self._succeeded(job, Spent(job.key, usage.ru_utime + usage.ru_stime, seconds), waiting, running)
                else:
                    self._failed(job, child.returncode, waiting)
        time.sleep(POLL_SECONDS)

    def _succeeded(self, job: Job, spent: Spent, waiting: Mapping[Path, Job], running: Mapping[int, object]) -> None:
        write_atomically(job.done_file, json.dumps(asdict(spent), indent=2) + "\n")
        left = len(waiting) + len(running)
        self.report(
            f"{job.label}: {job.stage} {spent.wall_seconds:.0f} s ({spent.processor_seconds:.0f} s of a processor), "
            f"{self.total - left} of {self.total} done"
        )

    def _failed(self, job: Job, code: int, waiting: dict[Path, Job]) -> None:
        message = f"{job.label}: {job.stage} failed: {_last_line(log_file(job), code)} (all of it: {log_file(job)})"
        self.report(message)
        self.failures.append(message)
        lost = {job.done_file}
        for done_file, later in list(waiting.items()):  # in order, so that what needs a lost one comes after it
            if any(need.done_file in lost for need in later.needs):
                lost.add(done_file)
                del waiting[done_file]


def prepare_folder(job: Job, configs: Path) -> None:
    """Make the folder of a job ready: its settings, its links, no checkpoints of an earlier attempt.

    A finished run of other settings is not overwritten: its folder is moved to ``ablations/NAME/old``.
    """
    earlier = job.earlier()
    if job.stage == "train" and earlier is not None:
        _keep(job.folder, earlier.key)
    for folder in ("logs", "data", "models"):
        (job.folder / folder).mkdir(parents=True, exist_ok=True)
    write_atomically(job.folder / "params.yaml", yaml_text(dict(job.params)))
    shutil.rmtree(job.folder / "checkpoints", ignore_errors=True)
    for name, target in {"configs": configs, **job.links}.items():
        link = job.folder / name
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target.absolute())


def _keep(folder: Path, key: str) -> None:
    kept = folder.parents[1] / "old" / f"{folder.parent.name}-{folder.name}-{key[:8]}"
    shutil.rmtree(kept, ignore_errors=True)
    kept.parent.mkdir(exist_ok=True)
    folder.rename(kept)


def _ready(job: Job, waiting: Mapping[Path, Job], busy: list[Job]) -> bool:
    unfinished = {*waiting, *(each.done_file for each in busy)}
    return not any(need.done_file in unfinished for need in job.needs)


def _last_line(log: Path, code: int) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), f"no output, exit status {code}")


def _stop(number: int, _: object) -> NoReturn:
    """End as an interrupt from the keyboard does: the children are stopped, too."""
    sys.exit(128 + number)


def _end(child: Child) -> None:
    """Stop a stage that nothing waits for any more."""
    try:
        os.kill(child.pid, signal.SIGTERM)
        os.waitpid(child.pid, 0)
        child.returncode = -signal.SIGTERM
    except (ProcessLookupError, ChildProcessError):
        return
