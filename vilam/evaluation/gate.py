"""The gate for champion: is a model as good as the best so far, by the answers of both to the same questions.

Numbers of different questions are never compared. The primary metric may not be below that of any champion so far, and
each guard not by more than its tolerance: a series of promotions never loses more than that in total.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from vilam.config import RegisterSettings
from vilam.evaluation.evaluator import metrics_of, with_cider
from vilam.evaluation.paired import Scores, paired_difference, scores

RESAMPLES = 2000
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Answered:
    """A model by the name that reasons give it, and its answers: ``Evaluation.rows``."""

    name: str
    rows: pd.DataFrame

    @cached_property
    def means(self) -> Scores:
        """The scores of each answer, by the metric that is their mean."""
        return scores(self.rows)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """All metrics, for those that are no mean of answers."""
        return dict(metrics_of(self.rows, 1, 0))

    def value(self, name: str) -> float | None:
        """A metric; None if there is none of this name or it is not a number."""
        value = self.means[name]["value"].mean() if name in self.means else self.metrics.get(name, math.nan)
        return float(value) if math.isfinite(value) else None

    def part(self, questions: set[str]) -> Answered:
        """The answers to these questions; CIDEr depends on all rows, so it is computed again if some are left out."""
        chosen = self.rows[self.rows["question_id"].isin(questions)]
        return self if len(chosen) == len(self.rows) else Answered(self.name, with_cider(chosen))


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether the challenger may become champion; ``reasons``: the failed comparisons, or all of them if it passed.

    best: the name of the rival with the best primary metric; None if there is none to compare with.
    """

    passed: bool
    reasons: list[str]
    best: str | None


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A metric of the challenger minus the rival's, on the questions that both were asked, and a sentence about it."""

    rival: str
    margin: float
    text: str


def gate(challenger: Answered, rivals: Sequence[Answered], settings: RegisterSettings) -> Gate:
    """Compare the challenger with every rival: the champion, and champions before it; higher is better.

    rivals: the answers to the challenger's questions; those that a rival must not be asked, because it was trained on
    their images, may lack. The challenger fails if its primary metric is below a rival's, if a guard is below a rival's
    by more than its tolerance, if one of these metrics is missing, or if a rival answered none of its questions. A
    metric that a rival lacks cannot be compared: it passes.
    """
    tolerances = {settings.primary: 0.0, **settings.guards}
    shared = [{*challenger.rows["question_id"]} & {*rival.rows["question_id"]} for rival in rivals]
    pairs = [(challenger.part(both), rival.part(both)) for rival, both in zip(rivals, shared, strict=True) if both]
    compared = {
        name: [found for ours, rival in pairs if (found := _compare(name, challenger, ours, rival)) is not None]
        for name in tolerances
    }
    verdicts = [_verdict(name, challenger, compared[name], tolerances[name]) for name in tolerances]
    verdicts += [
        (False, f"{rival.name} was trained on every image of these questions: nothing to compare")
        for rival, both in zip(rivals, shared, strict=True)
        if not both
    ]
    failures = [reason for passed, reason in verdicts if not passed]
    best = min(compared[settings.primary], key=lambda each: each.margin, default=None)
    return Gate(not failures, failures or [reason for _, reason in verdicts], best.rival if best else None)


def _verdict(name: str, challenger: Answered, compared: list[_Comparison], tolerance: float) -> tuple[bool, str]:
    value = challenger.value(name)
    if value is None:
        return False, f"{name} is missing in its answers"
    if not compared:
        return True, f"{name} {value:.4g}: no other model to compare with on these questions"
    closest = min(compared, key=lambda each: each.margin)
    allowed = f"; {tolerance:g} below is allowed" if tolerance else ""
    return closest.margin >= -tolerance - ROUNDING, f"{name} {value:.4g}: {closest.text}{allowed}"


def _compare(name: str, challenger: Answered, ours: Answered, rival: Answered) -> _Comparison | None:
    """A metric on the answers of both to the same questions; None if one of them has no such metric."""
    value, other = ours.value(name), rival.value(name)
    if value is None or other is None:
        return None
    margin = value - other
    how = f"{abs(margin):.4g} {'below' if margin < 0 else 'above'} {rival.name}{_interval(name, ours, rival)}"
    part = f", on the {len(ours.rows)} questions that both may be asked" if ours is not challenger else ""
    return _Comparison(rival.name, margin, how + part)


def _interval(name: str, ours: Answered, rival: Answered) -> str:
    """The interval of the paired difference, if the metric is a mean of answers."""
    if name not in ours.means:
        return ""
    difference = paired_difference([ours.means[name]], [rival.means[name]], RESAMPLES, seed=0)
    return f" (95 % interval {difference.low:+.4f} to {difference.high:+.4f})"
