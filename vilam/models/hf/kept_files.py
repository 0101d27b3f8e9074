"""The small files of a checkpoint beside its weights, which are written beside the trained weights too.

vilam opens what it needs for images. Other programs open more: the settings for videos, tokenizers in older forms,
chat templates under older names. So these files are kept as they came, and what vilam trained or changed is written
over them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from transformers.utils import IMAGE_PROCESSOR_NAME, PROCESSOR_NAME, VIDEO_PROCESSOR_NAME

from vilam.data.card import CARD as DATA_CARD
from vilam.models.card import CARD
from vilam.models.hf import ABOUT
from vilam.models.hf.processors import NOT_OPENED, SOUND, VIDEOS

KEPT = ("*.json", "*.jinja", "*.model", "*.tiktoken", "*.ttf", "*.txt", "*.y*ml", "LICENSE*", "NOTICE*")
LEFT_OUT = (
    *("*.index.json", "adapter_config.json"),  # of weights that are written anew
    *(CARD, DATA_CARD, ABOUT, "run.json", "seen_images.txt"),  # of vilam's folders
)


def read_kept(source: str) -> dict[str, bytes]:
    """The content of the files to keep, by name, of a checkpoint's folder or name on the hub."""
    folder = Path(source)
    if not folder.is_dir():
        folder = Path(snapshot_download(source, allow_patterns=list(KEPT), ignore_patterns=["*/*", *LEFT_OUT]))
    return {
        file.name: file.read_bytes()
        for file in sorted(folder.iterdir())
        if file.is_file() and _matches(file.name, KEPT) and not _matches(file.name, LEFT_OUT)
    }


def write_kept(kept: Mapping[str, bytes], folder: Path) -> None:
    """Writes them into a folder, before the model and its processor write theirs."""
    for name, content in kept.items():
        (folder / name).write_bytes(content)


def write_processor(processor: Any, kept: Mapping[str, bytes], folder: Path) -> None:
    """Writes the processor, and the settings for videos and sound where transformers looks for them.

    They are a part of processor_config.json, or for videos a file of their own. Where those of videos or sound were
    among those for images, which vilam may have changed, they get that place.
    """
    processor.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)  # where transformers before version 5 looks for it
    before, images = (json.loads(kept.get(name, b"{}")) for name in (PROCESSOR_NAME, IMAGE_PROCESSOR_NAME))
    parts = {name: before[name] for name in NOT_OPENED if name in before and hasattr(processor, name)}
    if hasattr(processor, SOUND) and SOUND not in parts and f"{SOUND}_type" in images:
        parts[SOUND] = images
    if parts:
        settings = json.loads((folder / PROCESSOR_NAME).read_text(encoding="utf-8")) | parts
        (folder / PROCESSOR_NAME).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    if hasattr(processor, VIDEOS) and VIDEOS not in parts and VIDEO_PROCESSOR_NAME not in kept and images:
        (folder / VIDEO_PROCESSOR_NAME).write_bytes(kept[IMAGE_PROCESSOR_NAME])


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
