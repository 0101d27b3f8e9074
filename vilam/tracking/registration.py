"""Registration: every new model becomes `challenger`, and `champion` if it passes the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vilam.config import RegisterSettings
from vilam.errors import VilamError
from vilam.tracking.gate import Gate, gate
from vilam.tracking.registry import Serving, Version, log_model, set_alias, versions
from vilam.tracking.runs import open_run

CHALLENGER, CHAMPION = "challenger", "champion"


@dataclass(frozen=True, slots=True)
class Registration:
    """The result: the model's run and version, the current champion, whether the model passed the gate, and why."""

    run_id: str
    version: int
    champion: int | None
    passed: bool
    reasons: list[str]


def register_model(
    root: Path,
    folder: Path,
    run_id: str | None,
    metrics: Mapping[str, float],
    settings: RegisterSettings,
    serving: Serving,
) -> Registration:
    """Register the model of ``folder`` (a Hugging Face folder) in its run, with ``metrics`` of `evaluate`.

    The new version becomes challenger, and champion if `gate` passes against the current champion's metrics.
    Raises VilamError if the folder holds no model or MLflow cannot be used.
    """
    if not (folder / "config.json").is_file():
        raise VilamError(f"{folder}: no model here: run `dvc repro train` first")
    champion = champion_of(versions(root, settings.model_name))
    verdict = gate(metrics, champion.metrics if champion else None, settings)
    with open_run(root, "register", run_id) as tracker:
        tags = {**tracker.origin, **_tags(metrics, verdict, settings)}
        made = log_model(folder, metrics, settings.model_name, tags, serving)
    set_alias(root, settings.model_name, CHALLENGER, made.number)
    if not verdict.passed:
        return Registration(made.run_id, made.number, champion.number if champion else None, False, verdict.reasons)
    set_alias(root, settings.model_name, CHAMPION, made.number)
    return Registration(made.run_id, made.number, made.number, True, verdict.reasons)


def champion_of(registered: list[Version]) -> Version | None:
    """The version with the alias champion; None if there is none."""
    return next((version for version in registered if CHAMPION in version.aliases), None)


def _tags(metrics: Mapping[str, float], verdict: Gate, settings: RegisterSettings) -> dict[str, str]:
    shown = {name: shown_value(metrics, name) for name in (settings.primary, *settings.guards)}
    return {**shown, "gate": "passed" if verdict.passed else "failed", "gate_reasons": "; ".join(verdict.reasons)}


def shown_value(metrics: Mapping[str, float], name: str) -> str:
    """A metric with three decimals; a dash if it is missing."""
    return f"{metrics[name]:.3f}" if name in metrics else "-"
