"""Settings by dotted name, such as ``train.steps: 500``, put in the place of others."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from string import Template
from typing import Any

from vilam.errors import VilamError

Overrides = Mapping[str, Any]
"""Settings by dotted name."""


def override(content: MutableMapping[str, Any], overrides: Overrides, where: str) -> None:
    """Change nested settings in place; ``${NAME}`` in a text is of the environment.

    Raises VilamError, in which ``where`` tells of what the overrides are, where a section or a variable is missing.
    """
    for name, value in overrides.items():
        *sections, last = str(name).split(".")
        inner: Any = content
        for section in sections:
            inner = inner.get(section) if isinstance(inner, MutableMapping) else None
        if not isinstance(inner, MutableMapping):
            raise VilamError(f"{where}: {name}: no such setting: check its spelling")
        inner[last] = expanded(value, f"{where}: {name}")


def expanded(value: Any, where: str) -> Any:
    """A text with what ``${NAME}`` is in the environment, anything else as it is; VilamError where it is not set."""
    if not isinstance(value, str):
        return value
    try:
        return Template(value).substitute(os.environ)
    except KeyError as missing:
        name = missing.args[0]
        raise VilamError(f"{where}: the environment variable {name} is not set: {name}=... vilam ...") from None
    except ValueError as error:
        raise VilamError(f"{where}: {value}: {error}") from None
