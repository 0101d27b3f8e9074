"""How many tokens a question and its answer take, and how many a model reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from vilam.data.instructions import Instruction
from vilam.data.records import ImageRecord
from vilam.inference.answering import Records
from vilam.inference.model import Model
from vilam.launch import rank
from vilam.models.interface import GroundingModel, ImageBatch, Turn
from vilam.models.vilam.model import VilamForConditionalGeneration

logger = logging.getLogger(__name__)

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
    network, limits = model.network, _limits(model)
    if _is_short(limits, len(turn.question.encode()) + len(turn.answer)):
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


def _limits(model: Model) -> dict[str, int]:
    """The largest number of tokens of each input that has one."""
    found = {"input_ids": position_limit(model)}
    if (former := getattr(model.network.config, "qformer_config", None)) is not None:
        found["qformer_input_ids"] = former.max_position_embeddings
    return {name: limit for name, limit in found.items() if limit is not None}


def _is_short(limits: Mapping[str, int], size: int) -> bool:
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


@dataclass(frozen=True, slots=True)
class Unread:
    """Instructions that are longer than a model reads: how many, an image of them, their tokens and the model's."""

    count: int
    image_id: str
    tokens: int
    limit: int


def readable(
    model: Model, records: Records, instructions: Iterable[Instruction]
) -> tuple[list[Instruction], Unread | None]:
    """The instructions whose question and answer, with the image, the model reads whole, and what the others are."""
    limits = _limits(model)
    kept: list[Instruction] = []
    unread: list[tuple[Instruction, tuple[int, int]]] = []
    for each in instructions:
        is_short = _is_short(limits, len(each.question.encode()) + len(each.answer.encode()))
        found = None if is_short else _overflow(model, records[each.image_id], each)
        if found is None:
            kept.append(each)
        else:
            unread.append((each, found))
    if not unread:
        return kept, None
    first, (tokens, most) = unread[0]
    return kept, Unread(len(unread), first.image_id, tokens, most)


def _overflow(model: Model, record: ImageRecord, instruction: Instruction) -> tuple[int, int] | None:
    network = model.network
    images = network.preprocess([record.image])
    answer = model.tokenizer.encode_answer(instruction.answer, network.frames(images)[0])
    return overflow(model, images, Turn(instruction.question, tuple(answer)))


def without_unread(
    model: Model, records: Records, instructions: Iterable[Instruction], stage: str
) -> list[Instruction]:
    """The instructions that the model reads whole; the others are named, counted and left out."""
    kept, unread = readable(model, records, instructions)
    if unread is not None and rank() == 0:
        example = f"one about image {unread.image_id} ({unread.tokens} tokens, the model reads {unread.limit})"
        logger.warning(
            "%s: %d questions are too long with image and answer, such as %s: left out", stage, unread.count, example
        )
    return kept
