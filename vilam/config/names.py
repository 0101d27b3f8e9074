"""Every setting of the schema by its dotted name, such as ``train.cycle.mode``.

A section merges: the settings that are named change, the others stay. A setting is replaced as a whole, also one that
holds a mapping
(`train.tasks`, `prepare.scenes.num_images`, `register.guards`, the configs of the parts, `model.language.lora`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from vilam.config.reading import unknown
from vilam.config.schema import OptimiserSettings, Section, Settings, SharedOptimiserSettings
from vilam.errors import VilamError


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the schema: its name, its default as text, what it does, and its field."""

    name: str
    default: str
    description: str
    field: FieldInfo


def all_settings(section: type[Section] = Settings, before: str = "") -> Iterator[Setting]:
    """Every setting, in the order of the schema."""
    for key, field in fields(section).items():
        name = before + key
        if inner := section_of(field):
            yield from all_settings(inner, f"{name}.")
        else:
            default = f"optimiser.{key}" if _is_shared(section, key) else as_yaml(field.default)
            yield Setting(name, default, " ".join((field.description or "").split()), field)


def fields(section: type[Section]) -> dict[str, FieldInfo]:
    """The fields of a section by their names in params.yaml; those that `optimiser` has too are last."""
    names = sorted(section.model_fields, key=lambda name: _is_shared(section, name))
    return {section.model_fields[name].alias or name: section.model_fields[name] for name in names}


def _is_shared(section: type[Section], name: str) -> bool:
    return issubclass(section, OptimiserSettings) and name in SharedOptimiserSettings.model_fields


def section_of(field: FieldInfo) -> type[Section] | None:
    """The section that a field is, or None if it is a setting."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def holds_mapping(field: FieldInfo) -> bool:
    """Whether the value of a setting can be a mapping."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) is not dict else (field.annotation,)
    return any(get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, Section)) for kind in kinds)


def as_yaml(value: Any) -> str:
    """A value as text in params.yaml."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {as_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def located(name: str, source: Path | str) -> tuple[FieldInfo, list[str], list[str]]:
    """The section or setting of a dotted name, its path, and the path inside a setting that holds a mapping.

    ``train.tasks.rec_box`` is in the setting at ``["train", "tasks"]``, inside it at ``["rec_box"]``. Raises
    VilamError, which begins with ``source``, if there is no such setting.
    """
    parts = name.split(".")
    section: type[Section] | None = Settings
    for end, part in enumerate(parts, start=1):
        field = fields(section).get(part) if section else None
        if field is None:
            break
        section = section_of(field)
        if end == len(parts) or (section is None and holds_mapping(field)):
            return field, parts[:end], parts[end:]
    raise VilamError(unknown(source, name))
