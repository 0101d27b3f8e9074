"""The gate: each case that passes or fails."""

import math

import pytest

from vilam.config import RegisterSettings
from vilam.tracking.gate import gate

SETTINGS = RegisterSettings(model_name="vilam", primary="rec_box/acc_0.5", guards={"reg_class/accuracy": 0.02})
CHAMPION = {"rec_box/acc_0.5": 0.75, "rec_box/acc_0.5_low": 0.70, "reg_class/accuracy": 0.90}


def challenger(primary: float = 0.8, guard: float = 0.9) -> dict[str, float]:
    return {"rec_box/acc_0.5": primary, "reg_class/accuracy": guard}


def test_the_first_model_passes() -> None:
    outcome = gate(challenger(0.1, 0.1), None, SETTINGS)
    assert outcome.passed
    assert outcome.reasons[0] == "rec_box/acc_0.5 0.1: no champion's value to compare with"


@pytest.mark.parametrize(("primary", "passed"), [(0.80, True), (0.70, True), (0.699, False)])
def test_the_primary_may_fall_within_the_champions_interval(primary: float, passed: bool) -> None:
    assert gate(challenger(primary), CHAMPION, SETTINGS).passed is passed


def test_without_an_interval_the_primary_may_not_fall() -> None:
    champion = {name: value for name, value in CHAMPION.items() if not name.endswith("_low")}
    outcome = gate(challenger(0.74), champion, SETTINGS)
    assert outcome.reasons == ["rec_box/acc_0.5 0.74 is below 0.75"]
    assert gate(challenger(0.75), champion, SETTINGS).passed


@pytest.mark.parametrize(("guard", "passed"), [(0.95, True), (0.885, True), (0.87, False)])
def test_a_guard_may_fall_by_its_tolerance(guard: float, passed: bool) -> None:
    outcome = gate(challenger(guard=guard), CHAMPION, SETTINGS)
    assert outcome.passed is passed
    assert any("reg_class/accuracy" in reason for reason in outcome.reasons)


@pytest.mark.parametrize("name", ["rec_box/acc_0.5", "reg_class/accuracy"])
def test_a_missing_metric_fails_the_challenger(name: str) -> None:
    metrics = challenger()
    del metrics[name]
    for champion in (CHAMPION, None):
        outcome = gate(metrics, champion, SETTINGS)
        assert not outcome.passed
        assert outcome.reasons == [f"{name} is missing in the challenger's metrics"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_no_number_fails_the_challenger(value: float) -> None:
    outcome = gate(challenger(primary=value), CHAMPION, SETTINGS)
    assert not outcome.passed
    assert "not a number" in outcome.reasons[0]


def test_a_metric_that_the_champion_lacks_passes() -> None:
    outcome = gate(challenger(), {"rec_box/acc_0.5": 0.75, "reg_class/accuracy": math.nan}, SETTINGS)
    assert outcome.passed
    assert any("reg_class/accuracy 0.9: no champion's value" in reason for reason in outcome.reasons)


def test_all_failures_are_reported() -> None:
    assert len(gate(challenger(0.1, 0.1), CHAMPION, SETTINGS).reasons) == 2


def test_the_best_of_all_templates_changes_nothing() -> None:
    oracle = {"rec_box_oracle/acc_0.5": 1.0}
    assert gate(challenger(0.5) | oracle, CHAMPION, SETTINGS) == gate(challenger(0.5), CHAMPION, SETTINGS)
    assert gate(challenger(), CHAMPION | oracle, SETTINGS) == gate(challenger(), CHAMPION, SETTINGS)
