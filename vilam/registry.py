"""The model registry: every registered model is `challenger`, and `champion` where the gate holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from vilam.config import RegisterSettings
from vilam.errors import VilamError
from vilam.evaluation.comparison import Gate, gate
from vilam.tracking import Version, log_model, open_run, set_alias, versions

CHALLENGER, CHAMPION = "challenger", "champion"


@dataclass(frozen=True, slots=True)
class Registration:
    """What became of a model: its version, which version is champion now, whether the gate passed, and why."""

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
        return Registration(made.number, champion.number if champion else None, False, verdict.reasons)
    set_alias(root, settings.model_name, CHAMPION, made.number)
    return Registration(made.number, made.number, True, verdict.reasons)


def champion_of(registered: list[Version]) -> Version | None:
    """The version that bears the alias champion, if any does."""
    return next((version for version in registered if CHAMPION in version.aliases), None)


def show_models(settings: RegisterSettings, root: Path) -> None:
    """Print the registered versions side by side, the newest first; raises VilamError where there is none."""
    registered = versions(root, settings.model_name)
    if not registered:
        raise VilamError(f"no version of {settings.model_name} is registered: run `dvc repro` first")
    table = Table(box=box.SIMPLE_HEAD, title=f"{settings.model_name}: registered versions")
    for title in ("version", "alias", settings.primary, *settings.guards, "git commit", "data", "when (UTC)"):
        table.add_column(title, justify="right" if "/" in title or title == "version" else "left")
    for version in reversed(registered):
        table.add_row(*_cells(version, settings))
    Console().print(table)


def _cells(version: Version, settings: RegisterSettings) -> list[str]:
    guards = [_value(version.metrics, name) for name in settings.guards]
    commit, data = version.tags.get("git_commit", ""), version.tags.get("data_version.records", "")
    when = version.created.strftime("%Y-%m-%d %H:%M")
    primary = _with_interval(version.metrics, settings.primary)
    dirty = "-dirty" if commit.endswith("-dirty") else ""
    return [str(version.number), ", ".join(version.aliases), primary, *guards, commit[:8] + dirty, data[:8], when]


def _value(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.3f}" if name in metrics else "-"


def _with_interval(metrics: Mapping[str, float], name: str) -> str:
    low, high = (metrics.get(f"{name}_{end}") for end in ("low", "high"))
    interval = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return _value(metrics, name) + interval


def _tags(metrics: Mapping[str, float], verdict: Gate, settings: RegisterSettings) -> dict[str, str]:
    shown = {name: _value(metrics, name) for name in (settings.primary, *settings.guards)}
    return {**shown, "gate": "passed" if verdict.passed else "failed", "gate_reasons": "; ".join(verdict.reasons)}
