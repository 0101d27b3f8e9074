"""The results of the finished runs of an ablation: one row per run, and each arm compared with the baseline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vilam.ablation.jobs import Run
from vilam.ablation.plan import BASELINE
from vilam.errors import VilamError, first_line
from vilam.evaluation.paired import Difference, Scores, paired_difference, scores
from vilam.layout import Layout

STEPS, TIME = "steps", "time"
"""The two budgets: equal optimiser steps, equal processor time."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Result:
    """A finished run: its scores by metric, and its processor seconds (see `Run.times`)."""

    run: Run
    scores: Scores
    times: dict[str, float]
    mlflow_run: str

    @property
    def row(self) -> dict[str, Any]:
        """Its row of results.csv."""
        run = self.run
        return {
            "fraction": run.fraction,
            "arm": run.arm,
            "seed": run.seed,
            "steps": run.train.params["train"]["steps"],
            "processor_seconds": round(sum(self.times.values()), 1),
            **{f"{name}_seconds": round(seconds, 1) for name, seconds in self.times.items()},
            **{name: round(float(each["value"].mean()), 6) for name, each in self.scores.items()},
            "answers": len(self.scores["invalid"]),
            "images": int(self.scores["invalid"]["content_id"].nunique()),
            "mlflow_run": self.mlflow_run,
        }


@dataclass(frozen=True)
class Comparison:
    """An arm at a fraction beside the baseline, by one metric, with equal steps or equal time.

    values, baselines: of each of ``seeds``. seconds, baseline_seconds: processor time, mean over the seeds.
    """

    budget: str
    fraction: float
    arm: str
    metric: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    baselines: tuple[float, ...]
    difference: Difference
    seconds: float
    baseline_seconds: float


def finished(runs: Sequence[Run]) -> Iterator[Result]:
    """The results of the runs that have been evaluated."""
    for run in runs:
        times = run.times()
        if times is not None and run.evaluate.spent() is not None:
            yield Result(run, _scores(run), times, _mlflow_run(run))


def compare(results: Sequence[Result]) -> list[Comparison]:
    """Every arm with the baseline of the same fraction and seeds, by every metric, and at equal time if that was run.

    Raises VilamError if the answers are not to the same questions.
    """
    found = {(result.run.fraction, result.run.arm, result.run.seed): result for result in results}
    pairs: dict[tuple[str, float, str], list[tuple[Result, Result]]] = {}
    for result in results:
        run = result.run
        budget, arm = (TIME, run.matches) if run.matches else (STEPS, run.arm)
        ours = found.get((run.fraction, arm, run.seed))
        theirs = result if run.matches else found.get((run.fraction, BASELINE, run.seed))
        if ours and theirs and arm != BASELINE:
            pairs.setdefault((budget, run.fraction, arm), []).append((ours, theirs))
    return [each for key, pair in pairs.items() for each in _compared(*key, pair)]


def _compared(budget: str, fraction: float, arm: str, pairs: Sequence[tuple[Result, Result]]) -> Iterator[Comparison]:
    ours, theirs = zip(*pairs, strict=True)
    for metric in ours[0].scores:
        arm_scores, baseline_scores = ([result.scores[metric] for result in side] for side in (ours, theirs))
        yield Comparison(
            budget,
            fraction,
            arm,
            metric,
            tuple(result.run.seed for result in ours),
            _means(arm_scores),
            _means(baseline_scores),
            paired_difference(arm_scores, baseline_scores, RESAMPLES, seed=0),
            _seconds(ours),
            _seconds(theirs),
        )


def _means(scored: Sequence[pd.DataFrame]) -> tuple[float, ...]:
    return tuple(float(each["value"].mean()) for each in scored)


def _seconds(results: Sequence[Result]) -> float:
    return sum(sum(result.times.values()) for result in results) / len(results)


def results_table(results: Sequence[Result]) -> pd.DataFrame:
    """One row per run: fraction, arm, seed, steps, processor seconds and their parts, metrics, counts, MLflow's run."""
    return pd.DataFrame([result.row for result in results])


def comparisons_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """One row per comparison, with the difference, its interval and that of each seed."""
    return pd.DataFrame(
        [
            {
                "budget": each.budget,
                "fraction": each.fraction,
                "arm": each.arm,
                "metric": each.metric,
                "mean": sum(each.values) / len(each.values),
                "baseline": sum(each.baselines) / len(each.baselines),
                "difference": each.difference.mean,
                "low": each.difference.low,
                "high": each.difference.high,
                "by_seed": " ".join(f"{value:+.4f}" for value in each.difference.by_seed),
                "processor_seconds": round(each.seconds, 1),
                "baseline_seconds": round(each.baseline_seconds, 1),
            }
            for each in comparisons
        ]
    )


def _scores(run: Run) -> Scores:
    path = Layout(run.evaluate.folder).answers("train")
    try:
        return scores(pd.read_parquet(path))
    except (OSError, ValueError, KeyError) as error:
        done = run.evaluate.done_file
        raise VilamError(f"{path}: not readable ({first_line(error)}): remove {done} and run again") from None


def _mlflow_run(run: Run) -> str:
    content = json.loads((Layout(run.train.folder).model("train") / "run.json").read_text(encoding="utf-8"))
    return str(content.get("run_id"))
