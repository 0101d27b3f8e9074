"""The form in Prefect's UI that starts a run: every setting, the most important ones first in each section.

It is the JSON schema of params.yaml with nothing required. Defaults are in the descriptions and not in the schema's
``default``, which Prefect's UI would send: an untouched form overrides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vilam.config import Settings
from vilam.config.names import all_settings

LEFT_OUT = ("required", "default", "$defs")


def schema() -> dict[str, Any]:
    """The JSON schema of overrides, with every reference resolved."""
    whole = Settings.model_json_schema(by_alias=True)
    form: dict[str, Any] = _resolved(whole, whole["$defs"])
    for position, setting in enumerate(all_settings()):
        field = form
        for part in setting.name.split("."):
            fields = field["properties"]
            field = fields[part]
            if "position" not in field:
                fields[part] = fields.pop(part)  # move it to the end
                field["position"] = position
        field["description"] = f"{setting.description} Default: {setting.default}."
    return {**form, "title": "Overrides", "description": "What differs from params.yaml in this run; empty: nothing."}


def _resolved(node: Any, parts: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_resolved(item, parts) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _resolved(parts[node["$ref"].rpartition("/")[2]], parts)
    resolved = {key: _resolved(value, parts) for key, value in node.items() if key not in LEFT_OUT}
    if resolved.get("type") == "boolean":  # the UI shows it as a switch, and sends false if it is untouched
        del resolved["type"]
        resolved["enum"] = [True, False]
    for name, field in resolved.get("properties", {}).items():
        field["title"] = name
    return resolved
