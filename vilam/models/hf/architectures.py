"""The vision-language models of transformers that vilam supports, one row of a table each.

A row holds what cannot be read from a checkpoint: its coordinate format, its prompt if it has no chat template, and
which of its modules are the vision tower and the alignment layer. All other modules belong to the language model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vilam.errors import VilamError
from vilam.models.coordinate_formats import CELLS, HUNDREDTHS, LOCATIONS, PIXELS, THOUSANDTHS, CoordinateFormat, Frame
from vilam.tasks.answers import SCALE


def whole_image(processor: Any, width: int, height: int) -> Frame:
    """Coordinates are fractions of the image's sides, so its resized size does not matter."""
    return Frame.filled(SCALE, SCALE)


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


def padded_image(processor: Any, width: int, height: int) -> Frame:
    """The image in the centre of a square."""
    return Frame.padded(SCALE, width, height)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A row of the table.

    vision, aligner: prefixes of the names of the parts' modules and parameters; the longest match counts. frame: the
    frame of a width x height image. prompt: the text that asks a question (``{}``) if there is no chat template.
    answer_prefix: the text before an answer's first word. counts_padding: whether generation counts the padding before
    a text among its positions, so that each answer must be generated alone.
    """

    coordinate_format: CoordinateFormat
    vision: tuple[str, ...]
    aligner: tuple[str, ...]
    frame: Callable[[Any, int, int], Frame] = whole_image
    prompt: str | None = None
    answer_prefix: str = ""
    counts_padding: bool = False

    def part(self, name: str) -> str:
        """The part to which a module or parameter belongs: vision, aligner or language."""
        prefixes = {**dict.fromkeys(self.vision, "vision"), **dict.fromkeys(self.aligner, "aligner")}
        matches = [prefix for prefix in prefixes if name == prefix or name.startswith(f"{prefix}.")]
        return prefixes[max(matches, key=len)] if matches else "language"


_QFORMER = ("query_tokens", "qformer", "language_projection")
ARCHITECTURES = {
    # The paper's models: frozen ViT and language model, a trained Q-Former. Their coordinates are the paper's.
    "blip-2": Architecture(THOUSANDTHS, ("vision_model",), _QFORMER, prompt="Question: {} Answer:", answer_prefix=" "),
    "instructblip": Architecture(THOUSANDTHS, ("vision_model",), _QFORMER, prompt="{}", answer_prefix=" "),
    # Models that were trained to ground, and write coordinates in their own format.
    "llava": Architecture(HUNDREDTHS, ("model.vision_tower",), ("model.multi_modal_projector",), padded_image),
    "qwen2_5_vl": Architecture(PIXELS, ("model.visual",), ("model.visual.merger",), resized_image),
    "qwen3_vl": Architecture(
        THOUSANDTHS, ("model.visual",), ("model.visual.merger", "model.visual.deepstack_merger_list")
    ),
    "paligemma": Architecture(LOCATIONS, ("model.vision_tower",), ("model.multi_modal_projector",), prompt="<image>{}"),
    "smolvlm": Architecture(THOUSANDTHS, ("model.vision_model",), ("model.connector",), answer_prefix=" "),
    "kosmos-2": Architecture(
        CELLS, ("vision_model",), ("image_to_text_projection",), prompt="<grounding> {}", counts_padding=True
    ),
}
"""By transformers' ``model_type``."""


def architecture_of(model_type: str) -> Architecture:
    """The row of a model type; raises VilamError if the table has none."""
    if model_type not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise VilamError(f"the coordinate format of {model_type} is not known: choose one of {known}")
    return ARCHITECTURES[model_type]
