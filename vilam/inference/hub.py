"""Checkpoints of a model hub by their names, such as ``Qwen/Qwen2.5-VL-3B-Instruct``."""

from __future__ import annotations

import re
from pathlib import Path

from vilam.errors import VilamError, first_line

FILES = ("*.json", "*.jinja", "*.safetensors", "*.model", "*.txt")
"""The files of a checkpoint that are downloaded."""


def is_hub_name(address: str, root: Path) -> bool:
    """Whether an address, which is no folder of the project ``root``, has the form of a hub name.

    A path into a folder that is there has not: it is mistyped.
    """
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", address) is not None and not (root / address).parent.exists()


def download(name: str) -> Path:
    """The folder of a hub's checkpoint, downloaded unless it was before; raises VilamError if it cannot be."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:  # httpx's and the hub's errors are among them
        raise VilamError(
            f"no folder is called {name}, and no model of the hub can be downloaded ({first_line(error)[:100]}): "
            "name a folder such as models/train, models:/NAME@ALIAS or a checkpoint of the hub"
        ) from error
