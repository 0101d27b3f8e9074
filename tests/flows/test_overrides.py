"""Overrides: what the server lets through, and how they reach DVC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from flows.overrides import assignments, parsed, schema


@pytest.mark.parametrize("overrides", [{}, {"seed": 3}, {"train": {"steps": 5, "cycle": {"mode": "none"}}}])
def test_schema_requires_nothing(overrides: dict[str, Any]) -> None:
    jsonschema.validate(overrides, schema())


def test_schema_takes_the_whole_of_params_yaml(project: Path) -> None:
    jsonschema.validate(yaml.safe_load((project / "params.yaml").read_text()), schema())


@pytest.mark.parametrize(
    "overrides",
    [{"sead": 3}, {"train": {"stepz": 5}}, {"train": {"steps": "many"}}, {"train": {"steps": 0}}, {"train": 3}],
)
def test_schema_refuses(overrides: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(overrides, schema())


def test_assignments_and_parsed_are_inverse() -> None:
    overrides = {"seed": 3, "prepare": {"root": None, "source": "voc"}, "train": {"cycle": {"refresh": 2}}}
    assigned = list(assignments(overrides))
    assert assigned == ["seed=3", "prepare.root=null", 'prepare.source="voc"', "train.cycle.refresh=2"]
    assert parsed(assigned) == overrides
