"""Runs steps, some side by side, each as ``python -m vilam STAGE`` in its folder, and measures what each took.

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
from vilam.ablation.steps import Spent, Step
from vilam.config import yaml_text
from vilam.files import write_atomically

POLL_SECONDS = 0.05


class Child(Protocol):
    """A process that was started, as `subprocess.Popen` is one."""

    pid: int
    returncode: int | None


Launch = Callable[[Step], Child]
"""Starts the stage of a step in its folder, with what it says in the step's log."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Launcher:
    """``python -m vilam STAGE`` with the same code as this process; MLflow's runs go to the project's own folder."""

    root: Path
    threads: int
    tags: Mapping[str, str]

    def __call__(self, step: Step) -> Child:
        """Start it."""
        with log_file(step).open("wb") as log:
            command = [sys.executable, "-m", "vilam", step.stage]
            return subprocess.Popen(
                command, cwd=step.folder, env=self.environment(step), stdout=log, stderr=subprocess.STDOUT
            )

    def environment(self, step: Step) -> dict[str, str]:
        """What the stage sees: threads, the place of MLflow's runs, and the name and tags of its run there."""
        code = [str(Path(vilam.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        runs = Path(os.environ.get("VILAM_MLRUNS") or self.root / "mlruns").absolute()
        name = f"{step.tags.get('ablation', '')} {step.label}".strip()
        return {
            **os.environ,
            "OMP_NUM_THREADS": str(self.threads),
            "PYTHONPATH": os.pathsep.join(code),
            "VILAM_MLRUNS": str(runs),
            "VILAM_RUN_NAME": name,
            "VILAM_RUN_TAGS": json.dumps({**self.tags, **step.tags}),
        }


def log_file(step: Step) -> Path:
    """Where a step's output goes."""
    return step.folder / "logs" / f"{step.stage}.txt"


class Runner:
    """Runs steps, at most ``jobs`` at a time; ``tell`` gets a line for each that ends."""

    def __init__(self, jobs: int, launch: Launch, configs: Path, tell: Tell) -> None:
        """``configs``: the project's folder of settings files, which every folder gets a link to."""
        self.jobs, self.launch, self.configs, self.tell = jobs, launch, configs, tell
        self.failures: list[str] = []

    def run(self, steps: Iterable[Step]) -> None:
        """Run all that is not finished, each after what it needs; what needs a failed one is left out."""
        distinct = {step.done_file: step for step in steps}
        waiting = {place: step for place, step in distinct.items() if step.spent() is None}
        self.total = len(waiting)
        running: dict[int, tuple[Step, Child, float]] = {}
        before = signal.signal(signal.SIGTERM, _stop)  # else what runs would go on in folders that are begun anew
        try:
            while waiting or running:
                busy = [step for step, _, _ in running.values()]
                ready = next((step for step in waiting.values() if _ready(step, waiting, busy)), None)
                if ready is not None and len(running) < self.jobs:
                    del waiting[ready.done_file]
                    child = self._start(ready)
                    running[child.pid] = ready, child, time.monotonic()
                elif running:
                    self._reap(running, waiting)
                else:
                    raise AssertionError("steps that wait for each other")
        finally:
            for _, child, _ in running.values():
                _end(child)
            signal.signal(signal.SIGTERM, before)

    def _start(self, step: Step) -> Child:
        prepare_folder(step, self.configs)
        return self.launch(step)

    def _reap(self, running: dict[int, tuple[Step, Child, float]], waiting: dict[Path, Step]) -> None:
        for pid, (step, child, began) in list(running.items()):
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                del running[pid]
                child.returncode = os.waitstatus_to_exitcode(status)
                seconds = time.monotonic() - began
                if child.returncode == 0:
                    self._succeeded(step, Spent(step.key, usage.ru_utime + usage.ru_stime, seconds), waiting, running)
                else:
                    self._failed(step, child.returncode, waiting)
        time.sleep(POLL_SECONDS)

    def _succeeded(self, step: Step, spent: Spent, waiting: Mapping[Path, Step], running: Mapping[int, object]) -> None:
        write_atomically(step.done_file, json.dumps(asdict(spent), indent=2) + "\n")
        left = len(waiting) + len(running)
        self.tell(
            f"{step.label}: {step.stage} {spent.wall_seconds:.0f} s ({spent.processor_seconds:.0f} s of a processor), "
            f"{self.total - left} of {self.total} done"
        )

    def _failed(self, step: Step, code: int, waiting: dict[Path, Step]) -> None:
        message = f"{step.label}: {step.stage} failed: {_last_line(log_file(step), code)} (all of it: {log_file(step)})"
        self.tell(message)
        self.failures.append(message)
        lost = {step.done_file}
        for place, later in list(waiting.items()):  # in order, so that what needs a lost one comes after it
            if any(need.done_file in lost for need in later.needs):
                lost.add(place)
                del waiting[place]


def prepare_folder(step: Step, configs: Path) -> None:
    """Make the folder of a step ready: its settings, its links, no checkpoints of an earlier try.

    A finished run of other settings is not overwritten: its folder is moved to ``ablations/NAME/old``.
    """
    earlier = step.earlier()
    if step.stage == "train" and earlier is not None:
        _keep(step.folder, earlier.key)
    for folder in ("logs", "data", "models"):
        (step.folder / folder).mkdir(parents=True, exist_ok=True)
    write_atomically(step.folder / "params.yaml", yaml_text(dict(step.params)))
    shutil.rmtree(step.folder / "checkpoints", ignore_errors=True)
    for name, target in {"configs": configs, **step.links}.items():
        link = step.folder / name
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target.absolute())


def _keep(folder: Path, key: str) -> None:
    place = folder.parents[1] / "old" / f"{folder.parent.name}-{folder.name}-{key[:8]}"
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    folder.rename(place)


def _ready(step: Step, waiting: Mapping[Path, Step], busy: list[Step]) -> bool:
    unfinished = {*waiting, *(each.done_file for each in busy)}
    return not any(need.done_file in unfinished for need in step.needs)


def _last_line(log: Path, code: int) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), f"it said nothing and ended with {code}")


def _stop(number: int, _: object) -> NoReturn:
    """End as an interrupt from the keyboard does, with what runs."""
    sys.exit(128 + number)


def _end(child: Child) -> None:
    """Stop a stage that is no longer waited for."""
    try:
        os.kill(child.pid, signal.SIGTERM)
        os.waitpid(child.pid, 0)
        child.returncode = -signal.SIGTERM
    except (ProcessLookupError, ChildProcessError):
        return
