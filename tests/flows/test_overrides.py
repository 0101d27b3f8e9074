"""The form: what the server accepts, and how it is shown. tests/test_overrides.py tests what overrides do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from flows.form import schema
from flows.overrides import assignments, parsed
from vilam.config import read_yaml
from vilam.config.names import all_settings

SECTIONS = ("model", "optimiser", "activate", "train", "evaluate")


def field(name: str) -> dict[str, Any]:
    """The schema of a setting or a section in the form."""
    found = schema()
    for part in name.split("."):
        found = found["properties"][part]
    return found


@pytest.mark.parametrize("overrides", [{}, {"seed": 3}, {"train": {"steps": 5, "cycle": {"mode": "none"}}}])
def test_schema_requires_nothing(overrides: dict[str, Any]) -> None:
    jsonschema.validate(overrides, schema())


def test_schema_takes_the_whole_of_params_yaml(project: Path) -> None:
    jsonschema.validate(read_yaml(project / "params.yaml"), schema())


@pytest.mark.parametrize(
    "overrides",
    [{"sead": 3}, {"train": {"stepz": 5}}, {"train": {"steps": "many"}}, {"train": {"steps": 0}}, {"train": 3}],
)
def test_schema_refuses(overrides: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(overrides, schema())


def test_every_setting_is_shown_with_its_description_and_default() -> None:
    for setting in all_settings():
        shown = field(setting.name)
        assert shown["description"] == f"{setting.description} Default: {setting.default}."
        assert shown["title"] == setting.name.rpartition(".")[2]
    assert field("train.steps")["description"] == "Optimiser steps. Default: 2200."
    assert field("train.batch_size")["description"].endswith("Default: optimiser.batch_size.")


def test_no_default_is_sent() -> None:
    def defaults(node: Any) -> bool:
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        return (isinstance(node, dict) and "default" in node) or any(map(defaults, inner))

    assert not defaults(schema())


def test_no_untouched_boolean_is_sent() -> None:
    """The UI would show a boolean as a switch, which sends false; an untouched choice sends nothing."""
    assert '"boolean"' not in json.dumps(schema())
    assert field("evaluate.include_activate")["enum"] == [True, False]
    jsonschema.validate({"evaluate": {"include_activate": False}}, schema())
    for wrong in (0, "no", None):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"evaluate": {"include_activate": wrong}}, schema())


@pytest.mark.parametrize(
    ("section", "first", "last"),
    [
        ("train", "steps", "checkpoint_every"),
        ("activate", "steps", "checkpoint_every"),
        ("train.cycle", "mode", "kl"),
        ("prepare", "source", "scenes"),
        ("evaluate", "splits", "bootstrap"),
    ],
)
def test_important_settings_are_first(section: str, first: str, last: str) -> None:
    properties = field(section)["properties"]
    order = sorted(properties, key=lambda name: properties[name]["position"])
    assert (order[0], order[-1]) == (first, last) and [*properties] == order


def test_assignments_work_for_settings_that_params_yaml_does_not_name() -> None:
    overrides = {"seed": 3, "prepare": {"root": None, "source": "voc"}, "train": {"cycle": {"refresh": 2}}}
    words = ["++seed=3", "++prepare.root=null", '++prepare.source="voc"', "++train.cycle.refresh=2"]
    assert list(assignments(overrides)) == words


def test_words_give_the_overrides_that_the_form_sends(project: Path) -> None:
    words = ["seed=3", "prepare.root=null", "prepare.source=voc", "train.cycle.refresh=2"]
    assert parsed(words, project) == {
        "seed": 3,
        "prepare": {"root": None, "source": "voc"},
        "train": {"cycle": {"refresh": 2}},
    }
