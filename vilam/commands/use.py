"""``vilam use``: write a preset, such as configs/models/small.yaml, into params.yaml and keep its comments."""

from __future__ import annotations

from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any

from vilam.config import complete, read_yaml
from vilam.errors import VilamError
from vilam.files import write_atomically
from vilam.overrides import get, override, settings_of

WIDTH = 4096
"""Line length beyond which ruamel.yaml breaks lines."""


def use(preset: Path, params: Path) -> list[str]:
    """Write the settings of ``preset``, by dotted name, into ``params``; returns the names of those that it changed.

    Raises VilamError and writes nothing if a file cannot be read or settings do not fit together.
    """
    overrides = read_yaml(preset)
    if not isinstance(overrides, dict) or not all(isinstance(name, str) for name in overrides):
        raise VilamError(f"{preset}: expected settings by dotted name, such as train.steps: 500")
    content = read_yaml(params)
    before = complete(content, params)
    override(content, overrides, str(preset))
    after = complete(content, preset)
    wanted = settings_of(overrides, str(preset))
    changed = [name for name in wanted if get(before, name.split(".")) != get(after, name.split("."))]
    if changed:
        write_atomically(params, _rewritten(params, preset, changed))
    return changed


def _rewritten(params: Path, preset: Path, names: list[str]) -> str:
    """The text of ``params`` with these settings of the preset; ruamel.yaml keeps everything else unchanged."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = WIDTH
    yaml.preserve_quotes = True
    yaml.representer.add_representer(type(None), _null)
    content, settings = (yaml.load(path.read_text(encoding="utf-8")) for path in (params, preset))
    wanted, before = settings_of(settings, str(preset)), deepcopy(content)
    override(content, {name: wanted[name] for name in names}, str(preset))
    for *path, key in (name.split(".") for name in names):
        section, old = get(content, path), get(before, path)
        if old and key not in old:  # before the last key, which holds the blank line after the section
            section.insert(list(section).index(list(old)[-1]), key, section.pop(key))
    text = StringIO()
    yaml.dump(content, text)
    return text.getvalue()


def _null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")
