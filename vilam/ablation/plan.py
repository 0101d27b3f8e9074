"""The plan of an ablation: arms x seeds x described fractions, and the settings of each run.

    name: scenes
    jobs: 2                    # runs side by side
    threads: 1                 # of each
    seeds: [0, 1, 2]
    fractions: [0.05, 0.2, 1.0]   # of the training regions keep their expressions
    settings: {train.steps: 2200}             # of every run, by dotted name, over those of params.yaml
    arms:
      none: {train.cycle.mode: none}          # the baseline
      pseudo: {train.cycle.mode: pseudo}
      loop: {train.cycle.mode: none, teacher: none, fractions: [0.05, 0.2]}
    time_arms: [pseudo, loop]
    time_fractions: [0.05]

``${NAME}`` in the name or in a setting is an environment variable. If `prepare.shots` samples regions, each seed has
its own sample; otherwise all seeds have the same data.

An arm with a ``teacher`` trains on expressions for the regions without any, which the finished model of that arm wrote
at the same fraction and seed: one turn of the synthesis loop. An arm with ``fractions`` is run at these only. For each
of ``time_arms``, at each of ``time_fractions``, the baseline is trained once more, with as many steps as take the
processor time of the arm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from vilam.config import (
    RECIPE_SUFFIXES,
    Count,
    Fraction,
    Section,
    check_settings,
    checked,
    complete,
    read_yaml,
)
from vilam.errors import VilamError
from vilam.layout import REGISTERED
from vilam.overrides import Overrides, expanded, override
from vilam.overrides import settings_of as by_setting

BASELINE = "none"
TEACHER, FRACTIONS = "teacher", "fractions"
SET_BY_PLAN = {
    "seed": "seeds",
    "synthesize.described_fraction": "fractions",
    "synthesize.teacher": "the teacher of an arm",
    "activate.threads": "threads",
    "train.threads": "threads",
    "optimiser.threads": "threads",
}
"""Settings that the plan itself sets, and the key of the plan that does."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class Plan(Section):
    """What is compared. ``arms``: overrides by arm; ``none`` is the baseline that the others are compared with."""

    name: Name
    jobs: Count
    threads: Count
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    fractions: Annotated[list[Fraction], Field(min_length=1)]
    settings: Overrides
    arms: dict[Name, Overrides]
    time_arms: list[str]
    time_fractions: list[Fraction]

    @model_validator(mode="after")
    def _arms_fit_together(self) -> Plan:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        for name, values in (("seeds", self.seeds), ("fractions", self.fractions)):
            if len(set(values)) < len(values):
                yield f"{name}: one of {values} appears twice"
        if BASELINE not in self.arms:
            yield f"arms: the baseline {BASELINE} is missing: there are {', '.join(self.arms) or 'none'}"
        before: list[str] = []
        for arm, overrides in self.arms.items():
            if (teacher := overrides.get(TEACHER)) is not None and teacher not in before:
                known = ", ".join(before) or "none"
                yield f"arms.{arm}.teacher: {teacher} is not an arm before it: choose one of {known}"
            before.append(arm)
        for where, some in self._some_fractions():
            if not isinstance(some, list) or not all(each in self.fractions for each in some):
                yield f"{where}: {some}: expected a list, of {', '.join(map(str, self.fractions))}"
        for arm in self.time_arms:
            if arm not in self.arms or arm == BASELINE:
                yield f"time_arms: {arm}: choose one of {', '.join(name for name in before if name != BASELINE)}"

    def _some_fractions(self) -> Iterator[tuple[str, Any]]:
        yield "time_fractions", self.time_fractions
        yield from (
            (f"arms.{arm}.{FRACTIONS}", each[FRACTIONS]) for arm, each in self.arms.items() if FRACTIONS in each
        )

    def arms_at(self, fraction: float) -> list[str]:
        """The arms that are run at a fraction, in the order of the plan."""
        return [arm for arm, overrides in self.arms.items() if fraction in overrides.get(FRACTIONS, self.fractions)]

    def teacher(self, arm: str) -> str | None:
        """The arm whose model writes the expressions that this arm trains on, if any."""
        found: str | None = self.arms[arm].get(TEACHER)
        return found

    def overrides(self, arm: str) -> Overrides:
        """The settings of all runs and then those of the arm."""
        own = {name: value for name, value in self.arms[arm].items() if name not in (TEACHER, FRACTIONS)}
        return {**self.settings, **own}


def read_plan(path: Path, params: Path) -> tuple[Plan, dict[str, Any]]:
    """The plan and the content of params.yaml with every default, and every run's settings checked.

    Raises VilamError of one line that names the arm and the setting if one is unknown or impossible.
    """
    content = read_yaml(path)
    if isinstance(content, dict):
        content |= {"name": expanded(content.get("name"), f"{path}: name")}
    plan = checked(Plan, content, path)
    base = complete(read_yaml(params), params)
    parts = {"settings": plan.settings, **{f"arms.{arm}": plan.overrides(arm) for arm in plan.arms}}
    for where, overrides in parts.items():
        for name in by_setting(overrides, f"{path}: {where}"):
            if name in SET_BY_PLAN:
                raise VilamError(f"{path}: {where}: {name}: leave it out: {SET_BY_PLAN[name]} sets it")
        check_settings(changed(base, overrides, f"{path}: {where}"), f"{path}: {where}")
    return plan, base


def settings_of(
    plan: Plan, base: Mapping[str, Any], arm: str, fraction: float, seed: int, root: Path
) -> dict[str, Any]:
    """The content of a run's params.yaml, with absolute paths, since a run has a folder of its own."""
    own = {"seed": seed, "synthesize.described_fraction": fraction}
    threads = {"activate.threads": plan.threads, "train.threads": plan.threads}
    content = changed(base, {**plan.overrides(arm), **own, **threads}, plan.name)
    prepare = content["prepare"] = dict(content["prepare"])
    if prepare["root"] is not None:
        prepare["root"] = str((root / prepare["root"]).absolute())
    if prepare["source"].endswith(RECIPE_SUFFIXES):
        prepare["source"] = str((root / prepare["source"]).absolute())
    start = content["model"]["fine_tune_from"]
    if start is not None and not REGISTERED.fullmatch(start):
        content["model"] = {**content["model"], "fine_tune_from": str((root / start).absolute())}
    return content


def changed(base: Mapping[str, Any], overrides: Overrides, where: str) -> dict[str, Any]:
    """A copy of nested settings with overrides by dotted name; ``${NAME}`` in a text is an environment variable."""
    content = deepcopy(dict(base))
    override(content, overrides, where)
    return content
