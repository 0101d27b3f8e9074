"""The model registry: every registered model is `challenger`, and `champion` where the gate holds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Column, Table

from vilam.config import RegisterSettings
from vilam.errors import VilamError
from vilam.evaluation.comparison import Gate, gate
from vilam.tracking import Version, log_model, open_run, set_alias, versions

CHALLENGER, CHAMPION = "challenger", "champion"
SHOWN = 4
"""Versions that stand side by side, the champion besides."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What became of a model: its run and version, which version is champion now, whether the gate passed, and why."""

    run_id: str
    version: int
    champion: int | None
    passed: bool
    reasons: list[str]


def register_model(
    root: Path, folder: Path, run_id: str | None, metrics: Mapping[str, float], settings: RegisterSettings
) -> Registration:
    """Register the model of ``folder`` (a Hugging Face folder) in its run, with ``metrics`` of `evaluate`.

    The new version is challenger; champion moves to it only if `gate` passes against the present champion's metrics.
    Raises VilamError where the folder holds no model or MLflow cannot be used.
    """
    if not (folder / "config.json").is_file():
        raise VilamError(f"{folder}: no model here: run `dvc repro train` first")
    champion = champion_of(versions(root, settings.model_name))
    verdict = gate(metrics, champion.metrics if champion else None, settings)
    with open_run(root, "register", run_id) as tracker:
        made = log_model(folder, metrics, settings.model_name, {**tracker.origin, **_tags(metrics, verdict, settings)})
    set_alias(root, settings.model_name, CHALLENGER, made.number)
    if not verdict.passed:
        return Registration(made.run_id, made.number, champion.number if champion else None, False, verdict.reasons)
    set_alias(root, settings.model_name, CHAMPION, made.number)
    return Registration(made.run_id, made.number, made.number, True, verdict.reasons)


def champion_of(registered: list[Version]) -> Version | None:
    """The version that bears the alias champion, if any does."""
    return next((version for version in registered if CHAMPION in version.aliases), None)


def show_models(settings: RegisterSettings, root: Path) -> None:
    """Print the newest versions and the champion side by side; raises VilamError where none is registered."""
    registered = versions(root, settings.model_name)
    if not registered:
        raise VilamError(f"no version of {settings.model_name} is registered: run `dvc repro` first")
    shown = [v for v in registered if v in registered[-SHOWN:] or CHAMPION in v.aliases]
    titles: list[Column | str] = [Column("", no_wrap=True), *(f"version {version.number}" for version in shown)]
    table = Table(*titles, box=box.SIMPLE_HEAD)
    for name, cells in comparison(shown, settings).items():
        table.add_row(name, *cells)
    Console(width=None if sys.stdout.isatty() else 40 + 30 * len(shown)).print(table)


def comparison(shown: list[Version], settings: RegisterSettings) -> dict[str, list[str]]:
    """Rows by name, a cell for each version: aliases, the gate's metrics, its origin, and parameters that differ."""
    rows = {
        "alias": [", ".join(v.aliases) for v in shown],
        settings.primary: [_with_interval(v.metrics, settings.primary) for v in shown],
        **{name: [_value(v.metrics, name) for v in shown] for name in settings.guards},
        "git commit": [_short_commit(v.tags.get("git_commit", "-")) for v in shown],
        "data version": [v.tags.get("data_version.records", "-")[:8] for v in shown],
        "registered (UTC)": [v.created.strftime("%Y-%m-%d %H:%M") for v in shown],
    }
    names = sorted({name for v in shown for name in v.params})
    params = {name: [v.params.get(name, "-") for v in shown] for name in names}
    return rows | {name: cells for name, cells in params.items() if len(set(cells)) > 1}


def _short_commit(commit: str) -> str:
    return commit[:8] + ("-dirty" if commit.endswith("-dirty") else "")


def _value(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.3f}" if name in metrics else "-"


def _with_interval(metrics: Mapping[str, float], name: str) -> str:
    low, high = (metrics.get(f"{name}_{end}") for end in ("low", "high"))
    interval = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return _value(metrics, name) + interval


def _tags(metrics: Mapping[str, float], verdict: Gate, settings: RegisterSettings) -> dict[str, str]:
    shown = {name: _value(metrics, name) for name in (settings.primary, *settings.guards)}
    return {**shown, "gate": "passed" if verdict.passed else "failed", "gate_reasons": "; ".join(verdict.reasons)}
