"""The gate for champion: is the challenger not worse than the champion, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vilam.config import RegisterSettings


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether the challenger may become champion; ``reasons``: the failed comparisons, or all of them if it passed."""

    passed: bool
    reasons: list[str]


def gate(challenger: Mapping[str, float], champion: Mapping[str, float] | None, settings: RegisterSettings) -> Gate:
    """Compare two sets of metrics by their names in ``metrics/evaluate.json`` (higher is better).

    The challenger fails if its primary metric is below the champion's interval (``<primary>_low``; below its value if
    it has no interval), if a guard is below the champion's by more than its tolerance, or if one of these metrics is
    missing or not a number. A metric that the champion lacks cannot be compared: it is reported and passes.
    """
    floors = dict(_floors(champion or {}, settings))
    verdicts = [_verdict(name, challenger.get(name), floors.get(name)) for name in (settings.primary, *settings.guards)]
    failures = [reason for passed, reason in verdicts if not passed]
    return Gate(not failures, failures or [reason for _, reason in verdicts])


def _floors(champion: Mapping[str, float], settings: RegisterSettings) -> Iterator[tuple[str, float]]:
    primary = [
        champion[name] for name in (f"{settings.primary}_low", settings.primary) if _is_number(champion.get(name))
    ]
    if primary:  # the lower end of its interval, if it has one
        yield settings.primary, primary[0]
    for name, tolerance in settings.guards.items():
        if _is_number(champion.get(name)):
            yield name, champion[name] - tolerance


def _verdict(name: str, value: float | None, floor: float | None) -> tuple[bool, str]:
    if value is None:
        return False, f"{name} is missing in the challenger's metrics"
    if not _is_number(value):
        return False, f"{name} is {value} in the challenger's metrics: not a number to compare"
    if floor is None:
        return True, f"{name} {value:.4g}: no champion's value to compare with"
    return value >= floor, f"{name} {value:.4g} {'reaches' if value >= floor else 'is below'} {floor:.4g}"


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
