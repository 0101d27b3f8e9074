"""The jobs of an ablation: stages in folders of their own, each named by everything its result depends on.

Data, instructions and the model of `activate` do not depend on what an arm does in `train`. They are made once, in
``ablations/NAME/shared/STAGE-KEY``, and all runs link to them. A run trains and evaluates in
``ablations/NAME/FRACTION/ARM-SEED``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vilam.ablation.plan import BASELINE, Plan, settings_of
from vilam.layout import Layout

INSIDE = Layout(Path())
"""The paths inside the folder of a job."""
RECORDS, INSTRUCTIONS, ACTIVATED = str(INSIDE.records), str(INSIDE.instructions), str(INSIDE.model("activate"))
SECTIONS = {
    "prepare": ("prepare",),
    "synthesize": ("synthesize",),
    "activate": ("model", "optimiser", "activate"),
    "train": ("model", "optimiser", "train"),
    "evaluate": ("evaluate",),
}
"""The sections of params.yaml that a stage's result depends on, as in dvc.yaml, besides the seed."""
DIGITS = 8
"""Digits of a key in the name of a folder."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a finished stage took: processor seconds (user and system, of all its processes) and seconds by the clock.

    ``key`` is the key of that job: it differs from today's if the settings or the data have changed since.
    """

    key: str
    processor_seconds: float
    wall_seconds: float


@dataclass(frozen=True, eq=False)
class Job:
    """One stage in one folder. ``links``: links from its folder to others; ``tags``: the tags of its MLflow run."""

    stage: str
    folder: Path
    label: str
    params: Mapping[str, Any]
    needs: tuple[Job, ...] = ()
    links: Mapping[str, Path] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """A digest of the settings that the result depends on and of the keys of the jobs before."""
        return key_of(self.stage, self.params, self.needs)

    @property
    def done_file(self) -> Path:
        """Written when the stage has succeeded."""
        return self.folder / "done" / f"{self.stage}.json"

    def spent(self) -> Spent | None:
        """What it took; None if it is not finished."""
        found = self.earlier()
        return found if found is not None and found.key == self.key else None

    def earlier(self) -> Spent | None:
        """What this stage took when it last succeeded in this folder, with any settings; None if it never did."""
        try:
            return Spent(**json.loads(self.done_file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


def key_of(stage: str, params: Mapping[str, Any], needs: tuple[Job, ...]) -> str:
    """The digest that names a job. It leaves out the settings of a cycle that is off, and the folder of a teacher."""
    sections = {name: dict(params[name]) for name in SECTIONS[stage]}
    if stage == "train" and sections["train"]["cycle"]["mode"] == "none":
        sections["train"]["cycle"] = {"mode": "none"}
    sections.get("synthesize", {}).pop("teacher", None)
    parts = [stage, params["seed"], sections, [need.key for need in needs]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _with_needs(job: Job) -> Iterator[Job]:
    for need in job.needs:
        yield from _with_needs(need)
    yield job


@dataclass(frozen=True)
class Run:
    """An arm at one fraction and seed. ``describe``: the job in which a teacher wrote the expressions, if it has one.

    matches: the arm whose processor time this run of the baseline gets, if any.
    """

    arm: str
    fraction: float
    seed: int
    train: Job
    evaluate: Job
    describe: Job | None = None
    teacher: Run | None = None
    matches: str | None = None

    @property
    def jobs(self) -> list[Job]:
        """All jobs of the run, each after those that it needs; the training of its teacher is among them."""
        return list(dict.fromkeys(_with_needs(self.evaluate)))

    def times(self) -> dict[str, float] | None:
        """Processor seconds of ``train``, of the ``teacher``'s training and of ``describe``; None until finished."""
        spent = {"train": self.train.spent(), "describe": self.describe.spent() if self.describe else None}
        if spent["train"] is None or (self.describe and spent["describe"] is None):
            return None
        times = {name: each.processor_seconds if each else 0.0 for name, each in spent.items()}
        teacher = self.teacher.times() if self.teacher else {}
        return None if teacher is None else {**times, "teacher": sum(teacher.values())}

    def cost(self) -> float | None:
        """Processor seconds of all that the arm does beyond the data and `activate`; None until that is finished."""
        times = self.times()
        return None if times is None else sum(times.values())


@dataclass(frozen=True)
class Ablation:
    """Makes the runs of a plan in a project folder; ``base`` is the content of its params.yaml."""

    plan: Plan
    base: Mapping[str, Any]
    root: Path

    @property
    def folder(self) -> Path:
        """The folder of the ablation."""
        return Layout(self.root).ablations / self.plan.name

    def runs(self) -> Iterator[Run]:
        """Every arm with every fraction and seed, a seed of all arms before the next."""
        for fraction in self.plan.fractions:
            for seed in self.plan.seeds:
                yield from (self.run(arm, fraction, seed) for arm in self.plan.arms_at(fraction))

    def matched_runs(self) -> Iterator[Run]:
        """The baseline with as many optimiser steps as take the processor time of an arm, if both times are known."""
        for fraction in self.plan.time_fractions:
            for seed in self.plan.seeds:
                baseline = self.run(BASELINE, fraction, seed)
                for arm in (arm for arm in self.plan.arms_at(fraction) if arm in self.plan.time_arms):
                    own, other = baseline.cost(), self.run(arm, fraction, seed).cost()
                    if own and other:
                        yield self._matched(baseline, arm, own, other)

    def start(self) -> Job:
        """The baseline's training of one optimiser step: the time of a training that does not grow with its steps.

        Imports, data, the start of the engine, the last validation: measured once, at the first fraction and seed.
        """
        job = self.run(BASELINE, self.plan.fractions[0], self.plan.seeds[0]).train
        return self._shared("train", _with_steps(job.params, 1), job.needs, job.links)

    def _matched(self, baseline: Run, arm: str, own: float, other: float) -> Run:
        params = baseline.train.params
        spent = self.start().spent()
        start = min(spent.processor_seconds, 0.9 * own) if spent else 0.0
        steps = math.ceil(params["train"]["steps"] * max(other - start, 0) / (own - start))
        name = f"{BASELINE}@{arm}"
        own_params = _with_steps(params, max(steps, 1))
        return self._run(name, baseline.fraction, baseline.seed, own_params, None, matches=arm)

    def run(self, arm: str, fraction: float, seed: int) -> Run:
        """The run of an arm."""
        params = settings_of(self.plan, self.base, arm, fraction, seed, self.root)
        name = self.plan.teacher(arm)
        teacher = self.run(name, fraction, seed) if name else None
        return self._run(arm, fraction, seed, params, teacher)

    def _run(
        self,
        arm: str,
        fraction: float,
        seed: int,
        params: Mapping[str, Any],
        teacher: Run | None,
        matches: str | None = None,
    ) -> Run:
        label, where = f"{fraction:g} {arm} {seed}", self.folder / f"{fraction:g}" / f"{arm}-{seed}"
        is_sampled = params["prepare"]["shots"] is not None  # with the seed of the run
        records = self._shared("prepare", params if is_sampled else {**params, "seed": self.base["seed"]}, (), {})
        data = {RECORDS: records.folder / RECORDS}
        # With a teacher, the arm's own settings of `synthesize` are for the teacher's descriptions.
        plain = {**params, "synthesize": teacher.train.params["synthesize"]} if teacher else params
        instructions = self._shared("synthesize", plain, (records,), data)
        evaluated_on = {**data, INSTRUCTIONS: instructions.folder / INSTRUCTIONS}
        activate = self._shared("activate", params, (records, instructions), evaluated_on)
        describe = self._described(params, records, data, teacher) if teacher else None
        trained_on = {**evaluated_on, ACTIVATED: activate.folder / ACTIVATED}
        if describe:
            trained_on[INSTRUCTIONS] = describe.folder / INSTRUCTIONS
        tags = {"ablation": self.plan.name, "arm": arm, "fraction": f"{fraction:g}", "seed": str(seed)}
        before = (records, describe or instructions, activate)
        train = Job("train", where, label, params, before, trained_on, tags)
        # Every arm is evaluated on the same instructions, whatever it was trained on.
        links = {**trained_on, **evaluated_on}
        evaluate = Job("evaluate", where, label, params, (train, instructions), links, tags)
        return Run(arm, fraction, seed, train, evaluate, describe, teacher, matches)

    def _shared(self, stage: str, params: Mapping[str, Any], needs: tuple[Job, ...], links: Mapping[str, Path]) -> Job:
        name = f"{stage}-{key_of(stage, params, needs)[:DIGITS]}"
        return Job(stage, self.folder / "shared" / name, name, params, needs, links)

    def _described(self, params: Mapping[str, Any], records: Job, links: Mapping[str, Path], teacher: Run) -> Job:
        """`synthesize` with the model of a finished run as the teacher of the regions without expressions."""
        folder = str(Layout(teacher.train.folder).model("train").absolute())
        taught = {**params, "synthesize": {**params["synthesize"], "teacher": folder}}
        return self._shared("synthesize", taught, (records, teacher.train), links)


def _with_steps(params: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """The settings with this many optimiser steps of `train`, and a warm-up that is not longer."""
    train = params["train"]
    return {**params, "train": {**train, "steps": steps, "warmup_steps": min(train["warmup_steps"], steps)}}
