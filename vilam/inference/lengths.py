"""How many tokens a question and its answer take, and how many a model reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vilam.inference.model import Model
from vilam.models.interface import GroundingModel, ImageBatch, Turn
from vilam.models.vilam.model import VilamForConditionalGeneration

UNCOUNTED = 4
"""A turn is counted only if its bytes, no fewer than its tokens, could fill a quarter of the positions."""
NO_LIMIT = 1 << 30
"""A tokenizer without a limit says a larger number."""


def overflow(
    model: Model, images: ImageBatch, turn: Turn, beyond: Callable[[int], int] = lambda limit: 0
) -> tuple[int, int] | None:
    """The tokens of a turn about the only image, and those that the model reads, if these are fewer.

    beyond: tokens of an answer that is still to come, for a number of positions; a decoder beside an encoder has
    positions of its own for it. InstructBLIP's Q-Former, which reads the question too, has its own as well.
    """
    network, limits = model.network, limits_of(model)
    if is_short(limits, len(turn.question.encode()) + len(turn.answer)):
        return None
    inputs = network.pack(model.tokenizer, images, [[turn]]).inputs
    for name, limit in limits.items():
        if name not in inputs:
            continue
        tokens = inputs[name].shape[1]
        if name == "input_ids":
            tokens += inputs["tails"].shape[1] if "tails" in inputs else 0
            tokens += _before_text(network, images)
            if not network.config.get_text_config().is_encoder_decoder:
                tokens += beyond(limit)
        if tokens > limit:
            return tokens, limit
    return None


def limits_of(model: Model) -> dict[str, int]:
    """The largest number of tokens of each input that has one."""
    found = {"input_ids": position_limit(model)}
    if (former := getattr(model.network.config, "qformer_config", None)) is not None:
        found["qformer_input_ids"] = former.max_position_embeddings
    return {name: limit for name, limit in found.items() if limit is not None}


def is_short(limits: Mapping[str, int], size: int) -> bool:
    """Whether a turn of so many bytes needs no counting."""
    return all(size * UNCOUNTED <= limit for limit in limits.values())


def _before_text(network: GroundingModel, images: ImageBatch) -> int:
    """The position of the text of a composed model; in other models the image's tokens are among the text's."""
    if not isinstance(network, VilamForConditionalGeneration):
        return 0
    return network.image_positions(network.before_text(network.encode_images(images[:1])).shape[1])[1]


def position_limit(model: Model) -> int | None:
    """The tokens that a language model reads at most; None if neither its config nor its tokenizer has a limit."""
    positions = getattr(model.network.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(positions, int):
        return positions
    longest = model.tokenizer.tokenizer.model_max_length  # of T5, whose positions are relative
    return int(longest) if longest < NO_LIMIT else None
