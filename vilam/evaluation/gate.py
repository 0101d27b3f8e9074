"""The gate for champion: is a model as good as the best so far, by the answers of both to the same questions.

Numbers of different questions are never compared. The primary metric may not be below that of any champion so far, and
each guard not by more than its tolerance: a series of promotions never loses more than that in total.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from vilam.config import RegisterSettings
from vilam.evaluation.evaluator import metrics_of, with_cider
from vilam.evaluation.paired import paired_difference, scores

RESAMPLES = 2000
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Answered:
    """A model by the name that reasons give it, and its answers: ``Evaluation.rows``."""

    name: str
    rows: pd.DataFrame


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
    compared = {name: _compare(name, challenger, rivals) for name in tolerances}
    verdicts = [_verdict(name, challenger.rows, compared[name], tolerances[name]) for name in tolerances]
    verdicts += [
        (False, f"{rival.name} was trained on every image of these questions: nothing to compare")
        for rival in rivals
        if not _both_asked(challenger.rows, rival.rows)
    ]
    failures = [reason for passed, reason in verdicts if not passed]
    best = min(compared[settings.primary], key=lambda each: each.margin, default=None)
    return Gate(not failures, failures or [reason for _, reason in verdicts], best.rival if best else None)


def _verdict(name: str, rows: pd.DataFrame, compared: list[_Comparison], tolerance: float) -> tuple[bool, str]:
    value = _value(rows, name)
    if value is None:
        return False, f"{name} is missing in its answers"
    if not compared:
        return True, f"{name} {value:.4g}: no other model to compare with on these questions"
    closest = min(compared, key=lambda each: each.margin)
    allowed = f"; {tolerance:g} below is allowed" if tolerance else ""
    return closest.margin >= -tolerance - ROUNDING, f"{name} {value:.4g}: {closest.text}{allowed}"


def _compare(name: str, challenger: Answered, rivals: Sequence[Answered]) -> list[_Comparison]:
    found = []
    for rival in rivals:
        both = _both_asked(challenger.rows, rival.rows)
        ours, theirs = (_part(each.rows, both) for each in (challenger, rival))
        values = (_value(ours, name), _value(theirs, name)) if both else (None, None)
        if values[0] is not None and values[1] is not None:
            margin = values[0] - values[1]
            how = f"{abs(margin):.4g} {'below' if margin < 0 else 'above'} {rival.name}{_interval(name, ours, theirs)}"
            part = f", on the {len(both)} questions that both may be asked" if len(both) < len(challenger.rows) else ""
            found.append(_Comparison(rival.name, margin, how + part))
    return found


def _both_asked(ours: pd.DataFrame, theirs: pd.DataFrame) -> set[str]:
    return {*ours["question_id"]} & {*theirs["question_id"]}


def _part(rows: pd.DataFrame, questions: set[str]) -> pd.DataFrame:
    """The rows of these questions; CIDEr depends on all rows, so it is computed again if some are left out."""
    chosen = rows[rows["question_id"].isin(questions)]
    return chosen if len(chosen) == len(rows) else with_cider(chosen)


def _value(rows: pd.DataFrame, name: str) -> float | None:
    """A metric of the rows; None if they have no such metric or it is not a number."""
    means = scores(rows)
    value = means[name]["value"].mean() if name in means else dict(metrics_of(rows, 1, 0)).get(name, math.nan)
    return float(value) if math.isfinite(value) else None


def _interval(name: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """The interval of the paired difference, if the metric is a mean of answers."""
    if name not in scores(ours):
        return ""
    difference = paired_difference([scores(ours)[name]], [scores(theirs)[name]], RESAMPLES, seed=0)
    return f" (95 % interval {difference.low:+.4f} to {difference.high:+.4f})"
