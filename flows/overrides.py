"""Overrides of a run: any settings of params.yaml.

They come nested, from Prefect's form or API, or as words of the command line. The server refuses a run whose overrides
do not match `flows.form.schema` (a misspelt name, a wrong type, a value out of bounds), and `check` refuses, before the
first stage, what a schema cannot express (settings that contradict each other). Sections merge, and a setting is
replaced as a whole, also one that holds a mapping, such as `train.tasks` (see vilam/overrides.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import WithJsonSchema

from flows.form import schema
from vilam.config import Settings, check_settings, parse_yaml, read_yaml
from vilam.errors import VilamError
from vilam.layout import Layout
from vilam.overrides import put, settings_of

Overrides = Annotated[dict[str, Any], WithJsonSchema(schema())]
"""Nested as in params.yaml: ``{"train": {"steps": 500}}``."""
KEY = re.compile(r"(?!(true|false|null|inf|nan)$)[a-z_][\w./+-]*", re.ASCII | re.IGNORECASE)
"""A key of a mapping that DVC's grammar of overrides reads as a text."""


def check(overrides: Mapping[str, Any], root: Path) -> Settings:
    """The settings of ``root`` with the overrides applied; raises VilamError if they are invalid."""
    params = Layout(root).params
    content = read_yaml(params)
    check_settings(content, params)
    put(content, overrides, str(params))
    settings = check_settings(content, params)
    for _ in assignments(overrides):  # what DVC cannot take is refused here
        pass
    return settings


def parsed(words: list[str], root: Path) -> dict[str, Any]:
    """``["train.steps=500"]`` as nested overrides of the settings of ``root``; a value is read as YAML 1.2.

    A word such as ``train.tasks.presence=1`` becomes the whole of `train.tasks` with this entry. Raises VilamError if
    a word is not an assignment or names no setting.
    """
    overrides: dict[str, Any] = {}
    base = read_yaml(Layout(root).params)
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            raise VilamError(f"{word}: expected name=value, such as train.steps=500")
        put(overrides, {name: parse_yaml(value, word)}, "overrides", base)
    return overrides


def assignments(overrides: Mapping[str, Any]) -> Iterator[str]:
    """The overrides for `dvc exp run -S`: ``++train.steps=500``, which works whether params.yaml names it or not.

    DVC merges a mapping into the existing one: to replace that, the setting is set to null first.
    """
    for name, value in settings_of(overrides, "overrides").items():
        if isinstance(value, Mapping):
            yield f"++{name}=null"
        yield f"++{name}={_in_hydra(value, name)}"


def _in_hydra(value: Any, name: str) -> str:
    """A value in the grammar of hydra, which DVC uses for overrides; ``${`` in a text is escaped."""
    if value == "???":
        raise VilamError(f"overrides: {name}: DVC does not take the text ???")
    if isinstance(value, str):
        plain = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
        return '"' + re.sub(r'(\\*)("|$)', lambda end: end[1] * 2 + (end[2] and '\\"'), plain) + '"'
    if isinstance(value, Mapping):
        for key in value:
            if not KEY.fullmatch(str(key)):
                raise VilamError(
                    f"overrides: {name}: {key}: begin a key with a letter; letters, digits and _ . / + - may follow"
                )
        return "{" + ",".join(f"{key}:{_in_hydra(inner, name)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_in_hydra(inner, name) for inner in value) + "]"
    return json.dumps(value)
