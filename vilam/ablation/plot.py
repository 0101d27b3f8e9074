"""The comparison as a plot: every seed as a dot, the means, and the paired differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vilam.ablation.plan import BASELINE
from vilam.ablation.results import STEPS, Comparison, Result
from vilam.ablation.tables import TITLES

SHOWN = ("rec_box/acc_0.5", "reg_caption/cider", "reg_caption/exact_match", "cycle/round_trip_iou")
COLOURS = ("#444444", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b")
"""Distinct for colour-blind people, too (Okabe and Ito)."""
WIDTH = 0.7
"""Width of the group of arms at a fraction; the distance between groups is 1."""


def plot(results: Sequence[Result], comparisons: Sequence[Comparison], path: Path) -> None:
    """Write a PNG: above the metric of each run, below the difference to the baseline; one column per metric.

    A filled mark is a comparison at equal steps, a hollow one at equal processor time.
    """
    metrics = [name for name in SHOWN if any(name in result.scores for result in results)]
    fractions = sorted({result.run.fraction for result in results})
    arms = list(dict.fromkeys(result.run.arm for result in results if not result.run.matches))
    figure = Figure(figsize=(4 * max(len(metrics), 1), 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, max(len(metrics), 1), squeeze=False)
    for (above, below), metric in zip(axes.T, metrics, strict=False):
        _values(above, metric, fractions, arms, results)
        _differences(below, metric, fractions, arms, comparisons)
        above.set_title(TITLES[metric])
        for axis in (above, below):
            axis.set_xticks(range(len(fractions)), [f"{fraction:.0%}" for fraction in fractions])
            axis.set_xlim(-0.5, len(fractions) - 0.5)
            axis.grid(axis="y", alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("each seed, and the mean")
    axes[1, 0].set_ylabel(f"paired difference to {BASELINE}, 95 %")
    figure.supxlabel("training regions that keep their expressions (filled: equal steps, hollow: equal processor time)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=max(len(labels), 1), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _position(group: int, arm: str, arms: Sequence[str]) -> float:
    return group + WIDTH * ((arms.index(arm) + 0.5) / len(arms) - 0.5)


def _values(axis: Any, metric: str, fractions: Sequence[float], arms: Sequence[str], results: Sequence[Result]) -> None:
    for number, arm in enumerate(arms):
        colour = COLOURS[number % len(COLOURS)]
        for group, fraction in enumerate(fractions):
            of_arm = [each for each in results if each.run.arm == arm and each.run.fraction == fraction]
            values = [float(each.scores[metric]["value"].mean()) for each in of_arm if metric in each.scores]
            position, mean = _position(group, arm, arms), sum(values) / len(values) if values else float("nan")
            axis.plot([position] * len(values), values, "o", color=colour, markersize=4, alpha=0.6)
            half = WIDTH / len(arms) / 2.5
            axis.plot(
                [position - half, position + half],
                [mean, mean],
                color=colour,
                linewidth=2.5,
                label=None if group else arm,
            )


def _differences(
    axis: Any, metric: str, fractions: Sequence[float], arms: Sequence[str], comparisons: Sequence[Comparison]
) -> None:
    axis.axhline(0, color="black", linewidth=0.8)
    for each in (each for each in comparisons if each.metric == metric):
        colour = COLOURS[arms.index(each.arm) % len(COLOURS)]
        found, at_steps = each.difference, each.budget == STEPS
        position = _position(fractions.index(each.fraction), each.arm, arms) + (-0.02 if at_steps else 0.02)
        axis.plot([position, position], [found.low, found.high], color=colour, linewidth=1.5)
        axis.plot(
            [position], [found.mean], "o", color=colour, markersize=6, markerfacecolor=colour if at_steps else "white"
        )
