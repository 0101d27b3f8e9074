"""Which pictures the model of the settings refuses, told from its name or its config.json: it is not opened."""

from __future__ import annotations

import json
import re
from pathlib import Path

from vilam.config import ModelSettings
from vilam.layout import named
from vilam.models.hf.conventions import convention_files, read_convention
from vilam.tracking.lookup import find_registered


def refuses_long(settings: ModelSettings, root: Path) -> bool:
    """Whether the model refuses pictures that are more than `LONG` (vilam/data/sanity.py) times as long as wide.

    False as well if that cannot be told: nothing is downloaded, and a hub's model is known by its name.
    """
    name = settings.fine_tune_from or settings.checkpoint
    if name is None:
        return False
    kind = _kind(name, root)
    named_in = [each for each in convention_files(root) if each in kind]
    return any(read_convention(each, root).refuses_long for each in named_in)


def _kind(name: str, root: Path) -> str:
    """The model_type in the model's folder; without one its name, written as model types are."""
    registered = find_registered(name, root)
    folder = registered[1] if registered else root / named(root, name)
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        return re.sub(r"\W", "_", name.lower())
