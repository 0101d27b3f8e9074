"""The form of Prefect's page on which a person starts a run: every setting, what matters first in each section.

It is the JSON schema of params.yaml with nothing required. A default stands in its setting's description and not in
the schema's ``default``, which Prefect's page would send along: a form that nobody touched overrides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vilam.config import Settings
from vilam.config.names import all_settings

LEFT_OUT = ("required", "default", "$defs")


def schema() -> dict[str, Any]:
    """The JSON schema of overrides, every part written out where it is used."""
    whole = Settings.model_json_schema(by_alias=True)
    form: dict[str, Any] = _open(whole, whole["$defs"])
    for position, setting in enumerate(all_settings()):
        field = form
        for part in setting.name.split("."):
            fields = field["properties"]
            field = fields[part]
            if "position" not in field:
                fields[part] = fields.pop(part)  # now the last one
                field["position"] = position
        field["description"] = f"{setting.description} Default: {setting.default}."
    return {**form, "title": "Overrides", "description": "What differs from params.yaml in this run; empty: nothing."}


def _open(node: Any, parts: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_open(item, parts) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _open(parts[node["$ref"].rpartition("/")[2]], parts)
    opened = {key: _open(value, parts) for key, value in node.items() if key not in LEFT_OUT}
    if opened.get("type") == "boolean":  # the page shows it as a switch, and sends false if nobody touches it
        del opened["type"]
        opened["enum"] = [True, False]
    for name, field in opened.get("properties", {}).items():
        field["title"] = name
    return opened
