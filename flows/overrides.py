"""What a person may override in a run: the settings of params.yaml, every one optional.

The server refuses a run whose overrides do not fit `schema` (a misspelt name, a wrong type, a value out of bounds), and
`check` refuses before the first stage what a schema cannot say (settings that do not go together).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import WithJsonSchema

from vilam.config import Settings, check_settings

PARAMS = "params.yaml"


def schema() -> dict[str, Any]:
    """The JSON schema of params.yaml with nothing required and every part written out in place."""
    whole = Settings.model_json_schema(by_alias=True)
    optional: dict[str, Any] = _optional(whole, whole["$defs"])
    return {**optional, "title": "Overrides", "description": "Settings of params.yaml that differ in this run."}


def _optional(node: Any, parts: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_optional(item, parts) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _optional(parts[node["$ref"].rpartition("/")[2]], parts)
    return {key: _optional(value, parts) for key, value in node.items() if key not in ("required", "$defs")}


Overrides = Annotated[dict[str, Any], WithJsonSchema(schema())]
"""Nested as in params.yaml: ``{"train": {"steps": 500}}``."""


def check(overrides: Mapping[str, Any], root: Path) -> Settings:
    """The settings of ``root`` with the overrides applied; raises VilamError where they cannot be."""
    content = yaml.safe_load((root / PARAMS).read_text(encoding="utf-8"))
    return check_settings(_merged(content, overrides), root / PARAMS)


def _merged(base: Any, overrides: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(overrides, Mapping)):
        return overrides
    return {**base, **{key: _merged(base.get(key), value) for key, value in overrides.items()}}


def assignments(overrides: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The overrides as DVC takes them: ``train.steps=500``; words are quoted, null stays null."""
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            yield from assignments(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={json.dumps(value)}"


def parsed(assigned: list[str]) -> dict[str, Any]:
    """``["train.steps=500"]`` as nested overrides; a value is read as YAML, a word without ``=`` is an error."""
    overrides: dict[str, Any] = {}
    for word in assigned:
        name, sign, value = word.partition("=")
        if not sign:
            raise ValueError(f"{word}: expected name=value, such as train.steps=500")
        *folders, last = name.split(".")
        inner = overrides
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[last] = yaml.safe_load(value)
    return overrides
