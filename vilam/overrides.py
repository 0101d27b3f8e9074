"""Settings by dotted name, such as ``train.steps: 500``, that replace others."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from copy import deepcopy
from string import Template
from typing import Any

from vilam.config import complete
from vilam.config.names import located, section_of
from vilam.errors import VilamError

Overrides = Mapping[str, Any]
"""Settings by dotted name."""


def override(content: MutableMapping[str, Any], overrides: Overrides, source: str) -> None:
    """As `put`, with ``${NAME}`` in a text replaced from the environment; raises VilamError if it is not set there."""
    put(content, {name: expanded(value, f"{source}: {name}") for name, value in overrides.items()}, source)


def put(
    content: MutableMapping[str, Any], overrides: Overrides, source: str, base: Mapping[str, Any] | None = None
) -> None:
    """Change the nested settings ``content`` in place; a section merges, a setting is replaced as a whole.

    ``train.tasks.presence: 1`` changes one entry of a setting; the others are those of ``content`` or, if it does not
    name the setting, those that ``base`` has by default (``content`` itself, if there is no base). Raises VilamError,
    which begins with ``source``, if there is no such setting.
    """
    before = deepcopy(content if base is None else base)
    for name, value in settings_of(overrides, source).items():
        _, path, inside = located(name, source)
        if inside and not isinstance(get(content, path), MutableMapping):
            _set(content, path, get(complete(before, source), path))
        _set(content, path + inside, deepcopy(value))


def settings_of(overrides: Overrides, source: str) -> dict[str, Any]:
    """The overrides by setting, sections flattened: ``{"train": {"steps": 5}}`` is ``{"train.steps": 5}``."""
    found: dict[str, Any] = {}
    for name, value in overrides.items():
        field, _, inside = located(str(name), source)
        if section_of(field) and not inside and isinstance(value, Mapping):
            found |= settings_of({f"{name}.{key}": inner for key, inner in value.items()}, source)
        else:
            found[str(name)] = value
    return found


def get(content: Mapping[str, Any], path: list[str]) -> Any:
    """The value at a path of nested settings; None if there is none."""
    inner: Any = content
    for part in path:
        inner = inner.get(part) if isinstance(inner, Mapping) else None
    return inner


def _set(content: MutableMapping[str, Any], path: list[str], value: Any) -> None:
    inner = content
    for part in path[:-1]:
        if not isinstance(inner.get(part), MutableMapping):
            inner[part] = {}
        inner = inner[part]
    inner[path[-1]] = value


def expanded(value: Any, source: str) -> Any:
    """A text with ``${NAME}`` replaced from the environment, anything else unchanged; VilamError if it is not set."""
    if not isinstance(value, str):
        return value
    try:
        return Template(value).substitute(os.environ)
    except KeyError as missing:
        name = missing.args[0]
        raise VilamError(f"{source}: the environment variable {name} is not set: {name}=... vilam ...") from None
    except ValueError as error:
        raise VilamError(f"{source}: {value}: {error}") from None
