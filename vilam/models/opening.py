"""Opening checkpoints of others: whatever is wrong with one is told in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from safetensors import SafetensorError

from vilam.errors import VilamError
from vilam.models.packaged import local_checkpoint

LONGEST = 200
"""Characters that an error of a library is cut to."""
Thing = TypeVar("Thing")
PROBLEMS = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, ImportError),
    *(SafetensorError, VilamError),
)
"""What loaders raise where files are missing, cut off or of another model."""


def opened_checkpoint(setting: str, checkpoint: str, loader: Callable[[str], Thing], files: str) -> Thing:
    """What the loader makes of a checkpoint; raises VilamError that names the setting and the files that it needs."""
    try:
        return loader(local_checkpoint(checkpoint))
    except PROBLEMS as error:
        first = first_line(error).rstrip(".")
        advice = "" if isinstance(error, VilamError) else f": put {files} into a folder and name that"
        raise VilamError(f"{setting} {checkpoint}: cannot be loaded: {first}{advice}") from error


def first_line(error: BaseException) -> str:
    """What a library says, without its lists of hundreds of models."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:LONGEST]
