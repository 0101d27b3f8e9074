"""A preset, such as configs/models/small.yaml, written into params.yaml: the settings change, the comments stay."""

from __future__ import annotations

from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any

from vilam.config import check_settings, read_yaml
from vilam.errors import VilamError
from vilam.files import write_whole
from vilam.overrides import override

WIDTH = 4096
"""Of a line that is not broken."""


def use(preset: Path, params: Path) -> list[str]:
    """Write the settings of ``preset``, by dotted name, into ``params``; returns the names of those that it changed.

    Raises VilamError of one line, with nothing written, where a file cannot be read or settings do not fit together.
    """
    overrides = read_yaml(preset)
    if not isinstance(overrides, dict) or not all(isinstance(name, str) for name in overrides):
        raise VilamError(f"{preset}: expected settings by dotted name, such as train.steps: 500")
    before = read_yaml(params)
    check_settings(before, params)
    after = deepcopy(before)
    override(after, overrides, str(preset))
    check_settings(after, preset)
    changed = [name for name in overrides if _setting(before, name) != _setting(after, name)]
    if changed:
        write_whole(params, _rewritten(params, preset, changed))
    return changed


def _setting(content: Any, name: str) -> Any:
    """A setting that may not be there yet."""
    for part in name.split("."):
        content = content.get(part)
    return content


def _rewritten(params: Path, preset: Path, names: list[str]) -> str:
    """The text of ``params`` with some settings of the preset; ruamel.yaml keeps all else as it was written."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = WIDTH
    yaml.preserve_quotes = True
    yaml.representer.add_representer(type(None), _null)
    content, settings = (yaml.load(path.read_text(encoding="utf-8")) for path in (params, preset))
    override(content, {name: settings[name] for name in names}, str(preset))
    text = StringIO()
    yaml.dump(content, text)
    return text.getvalue()


def _null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")
