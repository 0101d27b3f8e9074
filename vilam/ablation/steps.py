"""What an ablation is made of: stages in folders of their own, each named by all that its result depends on.

Data, instructions and the model of step 1 do not depend on what an arm does in step 2, so they are made once, in
``ablations/NAME/shared/STAGE-KEY``, and all runs look at them through links. A run trains and evaluates in
``ablations/NAME/SHARE/ARM-SEED``.
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

FOLDER = Path("ablations")
RECORDS, INSTRUCTIONS, STEP_1, STEP_2 = "data/records", "data/instructions", "models/activate", "models/train"
SECTIONS = {
    "prepare": ("prepare",),
    "synthesize": ("synthesize",),
    "activate": ("model", "optimiser", "activate"),
    "train": ("model", "optimiser", "train"),
    "evaluate": ("evaluate",),
}
"""The sections of params.yaml that a stage's result depends on, as in dvc.yaml, besides the seed."""
DIGITS = 8
"""Of a key, in the name of a folder."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a finished stage took: processor seconds (user and system, of all its processes) and seconds by the clock.

    ``key`` is that of the step that it was: where the settings or the data have changed since, it is another one.
    """

    key: str
    processor_seconds: float
    wall_seconds: float


@dataclass(frozen=True, eq=False)
class Step:
    """One stage in one folder. ``links``: what of other folders it looks at; ``tags``: for its run in MLflow."""

    stage: str
    folder: Path
    label: str
    params: Mapping[str, Any]
    needs: tuple[Step, ...] = ()
    links: Mapping[str, Path] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """A digest of the settings that the result depends on and of the keys of the steps before."""
        return key_of(self.stage, self.params, self.needs)

    @property
    def done_file(self) -> Path:
        """Written once the stage has ended well."""
        return self.folder / "done" / f"{self.stage}.json"

    def spent(self) -> Spent | None:
        """What it took, where it is finished."""
        found = self.earlier()
        return found if found is not None and found.key == self.key else None

    def earlier(self) -> Spent | None:
        """What this stage took when it last ended well in this folder, with whatever settings."""
        try:
            return Spent(**json.loads(self.done_file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


def key_of(stage: str, params: Mapping[str, Any], needs: tuple[Step, ...]) -> str:
    """The digest that names a step; the settings of a cycle that is off do not matter, nor where a teacher lies."""
    sections = {name: dict(params[name]) for name in SECTIONS[stage]}
    if stage == "train" and sections["train"]["cycle"]["mode"] == "none":
        sections["train"]["cycle"] = {"mode": "none"}
    sections.get("synthesize", {}).pop("teacher", None)
    parts = [stage, params["seed"], sections, [need.key for need in needs]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _with_needs(step: Step) -> Iterator[Step]:
    for need in step.needs:
        yield from _with_needs(need)
    yield step


@dataclass(frozen=True)
class Run:
    """An arm at one share and seed. ``describe``: the step in which a teacher's words were written, where it has one.

    matches: the arm whose processor time this run of the baseline was given, if any.
    """

    arm: str
    share: float
    seed: int
    train: Step
    evaluate: Step
    describe: Step | None = None
    teacher: Run | None = None
    matches: str | None = None

    @property
    def steps(self) -> list[Step]:
        """All that it takes, each after what it needs; its teacher's training is among them."""
        return list(dict.fromkeys(_with_needs(self.evaluate)))

    def times(self) -> dict[str, float] | None:
        """Processor seconds of ``train``, of the ``teacher``'s training and of ``describe``; None while not done."""
        spent = {"train": self.train.spent(), "describe": self.describe.spent() if self.describe else None}
        if spent["train"] is None or (self.describe and spent["describe"] is None):
            return None
        times = {name: each.processor_seconds if each else 0.0 for name, each in spent.items()}
        teacher = self.teacher.times() if self.teacher else {}
        return None if teacher is None else {**times, "teacher": sum(teacher.values())}

    def cost(self) -> float | None:
        """Processor seconds of all that the arm does beyond data and step 1; None while that is not done."""
        times = self.times()
        return None if times is None else sum(times.values())


@dataclass(frozen=True)
class Laboratory:
    """Makes the runs of a plan in a project folder; ``base`` is the content of its params.yaml."""

    plan: Plan
    base: Mapping[str, Any]
    root: Path

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return self.root / FOLDER / self.plan.name

    def runs(self) -> Iterator[Run]:
        """Every arm with every share and seed, a seed of all arms before the next."""
        for share in self.plan.shares:
            for seed in self.plan.seeds:
                yield from (self.run(arm, share, seed) for arm in self.plan.arms_at(share))

    def matched_runs(self) -> Iterator[Run]:
        """The baseline with as many steps as take the processor time of an arm, for those whose times are known."""
        for share in self.plan.time_shares:
            for seed in self.plan.seeds:
                baseline = self.run(BASELINE, share, seed)
                for arm in (arm for arm in self.plan.arms_at(share) if arm in self.plan.time_arms):
                    own, other = baseline.cost(), self.run(arm, share, seed).cost()
                    if own and other:
                        yield self._matched(baseline, arm, own, other)

    def start(self) -> Step:
        """The baseline's training of one step: what a training takes that does not grow with its steps.

        Imports, data, the making of the engine, the last validation; measured once, at the first share and seed.
        """
        step = self.run(BASELINE, self.plan.shares[0], self.plan.seeds[0]).train
        return self._shared("train", _with_steps(step.params, 1), step.needs, step.links)

    def _matched(self, baseline: Run, arm: str, own: float, other: float) -> Run:
        params = baseline.train.params
        spent = self.start().spent()
        start = min(spent.processor_seconds, 0.9 * own) if spent else 0.0
        steps = math.ceil(params["train"]["steps"] * max(other - start, 0) / (own - start))
        name = f"{BASELINE}@{arm}"
        own_params = _with_steps(params, max(steps, 1))
        return self._run(name, baseline.share, baseline.seed, own_params, None, matches=arm)

    def run(self, arm: str, share: float, seed: int) -> Run:
        """The run of an arm."""
        params = settings_of(self.plan, self.base, arm, share, seed, self.root)
        name = self.plan.teacher(arm)
        teacher = self.run(name, share, seed) if name else None
        return self._run(arm, share, seed, params, teacher)

    def _run(
        self,
        arm: str,
        share: float,
        seed: int,
        params: Mapping[str, Any],
        teacher: Run | None,
        matches: str | None = None,
    ) -> Run:
        label, where = f"{share:g} {arm} {seed}", self.folder / f"{share:g}" / f"{arm}-{seed}"
        drawn = params["prepare"]["shots"] is not None  # by the seed of the run
        records = self._shared("prepare", params if drawn else {**params, "seed": self.base["seed"]}, (), {})
        data = {RECORDS: records.folder / RECORDS}
        # With a teacher, the arm's own settings of `synthesize` are those of the describing.
        plain = {**params, "synthesize": teacher.train.params["synthesize"]} if teacher else params
        told = self._shared("synthesize", plain, (records,), data)
        asked = {**data, INSTRUCTIONS: told.folder / INSTRUCTIONS}
        step_1 = self._shared("activate", params, (records, told), asked)
        describe = self._described(params, records, data, teacher) if teacher else None
        learnt = {**asked, STEP_1: step_1.folder / STEP_1}
        if describe:
            learnt[INSTRUCTIONS] = describe.folder / INSTRUCTIONS
        tags = {"ablation": self.plan.name, "arm": arm, "share": f"{share:g}", "seed": str(seed)}
        before = (records, describe or told, step_1)
        train = Step("train", where, label, params, before, learnt, tags)
        # Every arm is asked the same, whatever it learnt from.
        evaluate = Step("evaluate", where, label, params, (train, told), {**learnt, **asked}, tags)
        return Run(arm, share, seed, train, evaluate, describe, teacher, matches)

    def _shared(
        self, stage: str, params: Mapping[str, Any], needs: tuple[Step, ...], links: Mapping[str, Path]
    ) -> Step:
        name = f"{stage}-{key_of(stage, params, needs)[:DIGITS]}"
        return Step(stage, self.folder / "shared" / name, name, params, needs, links)

    def _described(self, params: Mapping[str, Any], records: Step, links: Mapping[str, Path], teacher: Run) -> Step:
        """`synthesize` with the model of a finished run as the one that describes what nobody described."""
        folder = str((teacher.train.folder / STEP_2).absolute())
        told = {**params, "synthesize": {**params["synthesize"], "teacher": folder}}
        return self._shared("synthesize", told, (records, teacher.train), links)


def _with_steps(params: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """The settings with this many optimiser steps of phase 2, and a warm-up that is not longer."""
    train = params["train"]
    return {**params, "train": {**train, "steps": steps, "warmup_steps": min(train["warmup_steps"], steps)}}
