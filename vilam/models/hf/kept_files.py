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
from vilam.models.hf.processors import VIDEOS

KEPT = ("*.json", "*.jinja", "*.model", "*.tiktoken", "*.txt", "*.y*ml", "LICENSE*", "NOTICE*")
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
    """Writes the processor, and the settings for videos where transformers looks for them: as the checkpoint had them.

    They are a part of processor_config.json, or a file of their own, or those for images, which vilam may have changed.
    """
    processor.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)  # where transformers before version 5 looks for it
    if not hasattr(processor, VIDEOS):
        return
    before = json.loads(kept.get(PROCESSOR_NAME, b"{}"))
    if VIDEOS in before:
        settings = json.loads((folder / PROCESSOR_NAME).read_text(encoding="utf-8")) | {VIDEOS: before[VIDEOS]}
        (folder / PROCESSOR_NAME).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    elif VIDEO_PROCESSOR_NAME not in kept and IMAGE_PROCESSOR_NAME in kept:
        (folder / VIDEO_PROCESSOR_NAME).write_bytes(kept[IMAGE_PROCESSOR_NAME])


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
