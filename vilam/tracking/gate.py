"""The gate before the champion: is the challenger not worse, told in reasons."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vilam.config import RegisterSettings


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether the challenger may become champion; ``reasons``: what stopped it, else each comparison."""

    passed: bool
    reasons: list[str]


def gate(challenger: Mapping[str, float], champion: Mapping[str, float] | None, settings: RegisterSettings) -> Gate:
    """Compare two sets of metrics by their names in ``metrics/evaluate.json`` (higher is better).

    The primary metric may not lie below the champion's interval (its ``<primary>_low``; below its value where it has
    none), and no guard more than its tolerance below the champion's. A metric that the challenger lacks or that is
    not a number stops it; one that the champion lacks cannot be compared and is told, not held against it.
    """
    floors = dict(_floors(champion or {}, settings))
    verdicts = [_verdict(name, challenger.get(name), floors.get(name)) for name in (settings.primary, *settings.guards)]
    objections = [reason for passed, reason in verdicts if not passed]
    return Gate(not objections, objections or [reason for _, reason in verdicts])


def _floors(champion: Mapping[str, float], settings: RegisterSettings) -> Iterator[tuple[str, float]]:
    for name in (settings.primary, f"{settings.primary}_low"):
        if _is_number(champion.get(name)):
            yield settings.primary, champion[name]
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
