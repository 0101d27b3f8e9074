"""The comparison in Markdown: a table for each metric and budget, arms by fractions, then the cost of each arm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vilam.ablation.plan import BASELINE
from vilam.ablation.results import STEPS, TIME, Comparison, Result

TITLES = {
    "rec_box/acc_0.5": "REC Acc@0.5",
    "rec_box/miou": "REC mIoU",
    "reg_caption/cider": "REG CIDEr (0 to 10)",
    "reg_caption/exact_match": "REG exact match",
    "reg_class/accuracy": "class accuracy",
    "cycle/round_trip_iou": "round-trip IoU",
    "cycle/round_trip_acc_0.5": "round-trip Acc@0.5",
    "invalid": "invalid answers",
}
"""The titles of the metrics, in the order of the tables."""
BUDGETS = {STEPS: "at the same optimiser steps", TIME: "at the same processor time"}
LEGEND = (
    "Mean over the seeds; after it the paired difference to `none` with its 95 % bootstrap interval over images "
    "(in bold if it excludes zero) and, in brackets, the difference of each seed."
)


def markdown(results: Sequence[Result], comparisons: Sequence[Comparison]) -> str:
    """All tables, of the finished runs."""
    if not results:
        return "Nothing is finished yet.\n"
    parts = [LEGEND]
    for budget, words in BUDGETS.items():
        of_budget = [each for each in comparisons if each.budget == budget]
        for metric, title in TITLES.items():
            rows = [each for each in of_budget if each.metric == metric]
            if rows:
                parts += [f"### {title}, {words}", "\n".join(_metric_table(rows, results))]
    return "\n\n".join([*parts, "### Cost of a run", "\n".join(_cost_table(results))]) + "\n"


def _metric_table(rows: Sequence[Comparison], results: Sequence[Result]) -> Iterator[str]:
    """Arms by fractions; at equal time each arm has its own baseline, in the same cell."""
    fractions = sorted({each.fraction for each in rows})
    yield _line(["arm", *(f"{fraction:.0%} described" for fraction in fractions)])
    yield _line(["---"] * (len(fractions) + 1))
    if rows[0].budget == STEPS:
        yield _line([f"`{BASELINE}`", *(_baseline(rows[0].metric, fraction, results) for fraction in fractions)])
    cells = {(each.arm, each.fraction): _cell(each) for each in rows}
    for arm in dict.fromkeys(each.arm for each in rows):
        yield _line([f"`{arm}`", *(cells.get((arm, fraction), "") for fraction in fractions)])


def _baseline(metric: str, fraction: float, results: Sequence[Result]) -> str:
    values = [
        float(result.scores[metric]["value"].mean())
        for result in results
        if result.run.arm == BASELINE and result.run.fraction == fraction and metric in result.scores
    ]
    return f"{_mean(values):.3f}" if values else ""


def _cell(each: Comparison) -> str:
    found = each.difference
    change = f"{found.mean:+.3f}, {found.low:+.3f} to {found.high:+.3f}"
    beside = f" ({_mean(each.baselines):.3f})" if each.budget == TIME else ""
    by_seed = " ".join(f"{value:+.3f}" for value in found.by_seed)
    return f"{_mean(each.values):.3f}{beside} {f'**{change}**' if found.excludes_zero else change} [{by_seed}]"


def _cost_table(results: Sequence[Result]) -> Iterator[str]:
    """Mean over the seeds of the steps and of the processor seconds of each part."""
    yield _line(
        [
            "fraction",
            "arm",
            "seeds",
            "steps",
            "processor s",
            "training",
            "teacher's training",
            "describing",
            "min by clock",
        ]
    )
    yield _line(["---", "---", *["---:"] * 7])
    for fraction, arm in dict.fromkeys((result.run.fraction, result.run.arm) for result in results):
        members = [result for result in results if (result.run.fraction, result.run.arm) == (fraction, arm)]
        parts = [_mean([result.times[name] for result in members]) for name in ("train", "teacher", "describe")]
        steps = _mean([result.run.train.params["train"]["steps"] for result in members])
        clock = _mean([spent.wall_seconds for result in members if (spent := result.run.train.spent())]) / 60
        numbers = [sum(parts), *parts]
        yield _line(
            [
                f"{fraction:.0%}",
                f"`{arm}`",
                str(len(members)),
                f"{steps:.0f}",
                *(f"{n:.0f}" for n in numbers),
                f"{clock:.1f}",
            ]
        )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
