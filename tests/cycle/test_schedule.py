"""The schedule: the cycle begins late, its weights rise, and its examples are renewed."""

from __future__ import annotations

from typing import Any

import pytest
import scripted

from vilam.cycle.schedule import Schedule


def schedule(**changes: Any) -> Schedule:
    return Schedule(scripted.settings(**changes), 20)


def test_examples_are_made_from_the_start_on_at_every_refresh():
    own = schedule(start=0.5, refresh=3)
    assert own.first == 10 and [step for step in range(20) if own.is_due(step)] == [10, 13, 16, 19]
    assert [own.iteration(step) for step in (10, 12, 13, 19)] == [0, 0, 1, 3]


def test_weights_rise_linearly_after_the_start():
    weights = [schedule(start=0.5, ramp=0.25).weight(step) for step in range(20)]
    assert weights[:10] == [0.0] * 10 and weights[10:15] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert weights[15:] == [1.0] * 5
    assert schedule(start=0.0, ramp=0.0).weight(0) == 1.0


def test_mode_none_has_no_weight_and_makes_no_examples():
    none = schedule(mode="none", start=0.0)
    assert not any(none.is_due(step) or none.weight(step) for step in range(20))
