"""The whole vision-language models of transformers that are known here, one row each: the table of conventions.

What a row holds cannot be read off a checkpoint: in what its places are counted, how it is asked where it has no chat
template, and which of its modules are the vision tower and the alignment layer. All else belongs to the language model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vilam.errors import VilamError
from vilam.models.conventions import CELLS, HUNDREDTHS, LOCATIONS, PIXELS, THOUSANDTHS, Convention, Frame
from vilam.models.coordinates import SCALE


def whole_picture(processor: Any, width: int, height: int) -> Frame:
    """Places are shares of the picture's sides, so that it does not matter to what size it is resized."""
    return Frame.filled(SCALE, SCALE)


def resized_picture(processor: Any, width: int, height: int) -> Frame:
    """Qwen's resize to whole patches, of about the picture's aspect ratio."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    own = processor.image_processor
    limits = {"min_pixels": own.size["shortest_edge"], "max_pixels": own.size["longest_edge"]}
    try:
        rows, columns = smart_resize(height, width, factor=own.patch_size * own.merge_size, **limits)
    except ValueError as error:
        raise VilamError(f"a picture of {width} x {height}: {error}: leave it out") from error
    return Frame.filled(columns, rows)


def padded_picture(processor: Any, width: int, height: int) -> Frame:
    """The picture in the middle of a square."""
    return Frame.padded(SCALE, width, height)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A row of the table.

    prompt: how it is asked where it has no chat template; the question stands for ``{}``. lead: what stands before an
    answer's first word. vision, aligner: names that modules and parameters of the parts begin with; the longest counts.
    counts_padding: whether generation counts the padding before a text among its positions, so that each answer must
    be generated alone.
    """

    convention: Convention
    vision: tuple[str, ...]
    aligner: tuple[str, ...]
    frame: Callable[[Any, int, int], Frame] = whole_picture
    prompt: str | None = None
    lead: str = ""
    counts_padding: bool = False

    def part(self, name: str) -> str:
        """The part that a module or parameter belongs to: vision, aligner or language."""
        named = [(prefix, "vision") for prefix in self.vision] + [(prefix, "aligner") for prefix in self.aligner]
        found = [pair for pair in named if name == pair[0] or name.startswith(f"{pair[0]}.")]
        return max(found, key=lambda pair: len(pair[0]))[1] if found else "language"


_QFORMER = ("query_tokens", "qformer", "language_projection")
ARCHITECTURES = {
    # The paper's models: frozen ViT and language model, a trained Q-Former. Their places are the paper's.
    "blip-2": Architecture(THOUSANDTHS, ("vision_model",), _QFORMER, prompt="Question: {} Answer:", lead=" "),
    "instructblip": Architecture(THOUSANDTHS, ("vision_model",), _QFORMER, prompt="{}", lead=" "),
    # Models that ground already.
    "llava": Architecture(HUNDREDTHS, ("model.vision_tower",), ("model.multi_modal_projector",), padded_picture),
    "qwen2_5_vl": Architecture(PIXELS, ("model.visual",), ("model.visual.merger",), resized_picture),
    "qwen3_vl": Architecture(
        THOUSANDTHS, ("model.visual",), ("model.visual.merger", "model.visual.deepstack_merger_list")
    ),
    "paligemma": Architecture(LOCATIONS, ("model.vision_tower",), ("model.multi_modal_projector",), prompt="<image>{}"),
    "smolvlm": Architecture(THOUSANDTHS, ("model.vision_model",), ("model.connector",), lead=" "),
    "kosmos-2": Architecture(
        CELLS, ("vision_model",), ("image_to_text_projection",), prompt="<grounding> {}", counts_padding=True
    ),
}
"""By transformers' ``model_type``."""


def architecture(model_type: str) -> Architecture:
    """Its row; raises VilamError where the table has none."""
    if model_type not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise VilamError(f"how {model_type} counts coordinates is not known: choose one of {known}, or add a row to it")
    return ARCHITECTURES[model_type]
