"""Which pictures the model of the settings refuses, told from its name or its config.json: it is not opened."""

from __future__ import annotations

import json
import re
from pathlib import Path

from vilam.config import ModelSettings
from vilam.layout import named
from vilam.tracking.lookup import find_registered

REFUSE_LONG = ("qwen2_5_vl", "qwen3_vl")
"""Architectures of vilam/models/hf/architectures.py that refuse a picture above `LONG` of vilam/data/sanity.py."""


def refuses_long(settings: ModelSettings, root: Path) -> bool:
    """Whether the model refuses pictures that are more than `LONG` times as long as wide.

    False as well if that cannot be told: nothing is downloaded, and a hub's model is known by its name.
    """
    name = settings.fine_tune_from or settings.checkpoint
    return name is not None and any(kind in _kind(name, root) for kind in REFUSE_LONG)


def _kind(name: str, root: Path) -> str:
    """The model_type in the model's folder; without one its name, written as model types are."""
    registered = find_registered(name, root)
    folder = registered[1] if registered else root / named(root, name)
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        return re.sub(r"\W", "_", name.lower())
