"""The vision-language models of transformers that vilam supports: what their conventions mean for code.

A convention (vilam/models/hf/conventions.py) holds what cannot be read from a checkpoint.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from vilam.errors import VilamError
from vilam.models.coordinate_formats import CoordinateFormat, Frame
from vilam.models.hf.conventions import Convention, read_convention
from vilam.tasks.answers import SCALE


class Architecture:
    """A model type and its convention."""

    def __init__(self, convention: Convention) -> None:
        self.convention = convention

    @cached_property
    def coordinate_format(self) -> CoordinateFormat:
        """How it writes coordinates."""
        return self.convention.coordinate_format

    def frame(self, processor: Any, width: int, height: int) -> Frame:
        """The frame of a width x height image; raises VilamError if the processor refuses its size."""
        match self.convention.frame:
            case "resized":
                return resized_image(processor, width, height)
            case "padded":
                return Frame.padded(SCALE, width, height)
            case "whole":  # coordinates are fractions of the image's sides, so its resized size does not matter
                return Frame.filled(SCALE, SCALE)

    def part(self, name: str) -> str:
        """The part to which a module or parameter belongs: vision, aligner or language."""
        own = self.convention
        prefixes = {**dict.fromkeys(own.vision, "vision"), **dict.fromkeys(own.aligner, "aligner")}
        matches = [prefix for prefix in prefixes if name == prefix or name.startswith(f"{prefix}.")]
        return prefixes[max(matches, key=len)] if matches else "language"


def resized_image(processor: Any, width: int, height: int) -> Frame:
    """Qwen's resize to whole patches, with about the image's aspect ratio; raises VilamError if it refuses the size."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    own = processor.image_processor
    limits = {"min_pixels": own.size["shortest_edge"], "max_pixels": own.size["longest_edge"]}
    try:
        rows, columns = smart_resize(height, width, factor=own.patch_size * own.merge_size, **limits)
    except ValueError as error:
        raise VilamError(f"an image of {width} x {height}: {error}: leave it out") from error
    return Frame.filled(columns, rows)


def architecture_of(model_type: str) -> Architecture:
    """The architecture of a model type; raises VilamError if it has no convention."""
    return Architecture(read_convention(model_type, Path()))
