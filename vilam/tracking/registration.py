"""Registration: a new model becomes `challenger`, and `champion` if it is as good as the best so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from vilam.config import RegisterSettings
from vilam.tracking.address import runs_folder
from vilam.tracking.registry import Serving, Version, log_model, set_alias, update_version, versions
from vilam.tracking.runs import open_run

CHALLENGER, CHAMPION = "challenger", "champion"
PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model folder to register, its MLflow run, the metrics of `evaluate`, and tags that say what they are of.

    tags: `trained_on`, `evaluated_on` (both for people) and `test_data`, the version of the questions.
    """

    folder: Path
    run_id: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Registration:
    """The result: the model's run and version, the current champion, whether the model passed the gate, and why."""

    run_id: str
    version: int
    champion: int | None
    passed: bool
    reasons: list[str]


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Of several registrations on this machine, such as of experiments side by side, one compares at a time."""
    folder = runs_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "register.lock"):
        yield


def best_so_far(registered: Sequence[Version], test_data: str, settings: RegisterSettings) -> list[Version]:
    """The versions that a new model is compared with: the champion first, whatever data it was evaluated on.

    Then, of all versions that have passed the gate on the same test data, the best one by each of the gate's metrics.
    """
    champion = champion_of(registered)
    passed = [
        each for each in registered if each.tags.get("gate") == PASSED and each.tags.get("test_data") == test_data
    ]
    best = [
        max((each for each in passed if name in each.metrics), key=lambda each: each.metrics[name], default=None)
        for name in (settings.primary, *settings.guards)
    ]
    return list({each.number: each for each in (champion, *best) if each is not None}.values())


def register_model(
    root: Path,
    candidate: Candidate,
    passed: bool,
    reasons: Sequence[str],
    best: Version | None,
    settings: RegisterSettings,
    serving: Serving,
) -> Registration:
    """Register a model in its run: as a new version, or as the one that this run has already.

    It becomes challenger, and champion if it ``passed``. If not, ``best`` is or becomes the champion: the best one of
    the others on the same test data. Raises VilamError if MLflow cannot be used.
    """
    name = settings.model_name
    with open_run(root, "register", candidate.run_id) as tracker:
        tags = {**tracker.origin, **candidate.tags, **_tags(candidate.metrics, passed, reasons, settings)}
        tracker.set_tags(candidate.tags)
        of_run = [each for each in versions(root, name) if each.run_id == tracker.run_id]
        if of_run:
            made = update_version(name, of_run[-1].number, candidate.metrics, tags)
        else:
            made = log_model(candidate.folder, candidate.metrics, name, tags, serving)
    set_alias(root, name, CHALLENGER, made.number)
    champion = made if passed else best or champion_of(versions(root, name))
    if champion is not None:
        set_alias(root, name, CHAMPION, champion.number)
    return Registration(made.run_id, made.number, champion.number if champion else None, passed, list(reasons))


def champion_of(registered: Iterable[Version]) -> Version | None:
    """The version with the alias champion; None if there is none."""
    return next((version for version in registered if CHAMPION in version.aliases), None)


def _tags(
    metrics: Mapping[str, float], passed: bool, reasons: Sequence[str], settings: RegisterSettings
) -> dict[str, str]:
    shown = {name: shown_value(metrics, name) for name in (settings.primary, *settings.guards)}
    return {**shown, "gate": PASSED if passed else "failed", "gate_reasons": "; ".join(reasons)}


def shown_value(metrics: Mapping[str, float], name: str) -> str:
    """A metric with three decimals; a dash if it is missing."""
    return f"{metrics[name]:.3f}" if name in metrics else "-"
