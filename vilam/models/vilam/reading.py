"""How the language model reads packed instructions, so that none of them sees another.

By ``mask``, as one sequence: only attention that looks at all tokens keeps to a mask. By ``fork``, a row for each
instruction behind one image prefix, whose cache is forked: sliding windows, and states that pass from token to token.
By ``rows``, each with a prefix of its own: the same without a cache, which gradient checkpointing does not keep.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from vilam.models.forking import fork, ignores_padding, new_cache
from vilam.models.packing import packed_mask, packed_offsets, unpacked

logger = logging.getLogger(__name__)

Sharing = Literal["mask", "fork", "rows"]

ROUNDINGS = 4
"""States are the same if they differ by no more than this many times what so many roundings of the input change."""
PROBED = (7, 5, 3)
"""Tokens of the prefix and of the two instructions with which a language model is tried."""


def read_packed(decoder: Any, before: Tensor, text: Tensor, segments: Tensor, positions: Tensor, first: int) -> Tensor:
    """States (B, L, H) of a text (B, L, H) behind its prefix (B, P, H), as one sequence.

    segments (B, L): see `PackedText`. positions (P,): of the prefix. first: the position at which instructions begin.
    """
    length = before.shape[1]
    embeds = torch.cat([before, text], dim=1)  # (B, P + L, H)
    ids = [positions.expand(len(before), -1), packed_offsets(segments) + first]
    output = decoder(
        inputs_embeds=embeds,
        attention_mask=packed_mask(segments, length, embeds.dtype),  # (B, 1, P + L, P + L)
        position_ids=torch.cat(ids, dim=1),  # (B, P + L)
        use_cache=False,
    )
    hidden: Tensor = output.last_hidden_state[:, length:]
    return hidden


def read_rows(
    decoder: Any, before: Tensor, text: Tensor, segments: Tensor, positions: Tensor, first: int, sharing: Sharing
) -> Tensor:
    """The same with a row for each instruction, behind the forked prefix or, for ``rows``, behind its own."""
    images, columns = unpacked(segments)  # (R,), (R, M)
    rows = text[images.unsqueeze(1), columns.clamp_min(0)]  # (R, M, H); padding follows the text, which never sees it
    of_text = (torch.arange(rows.shape[1], device=text.device) + first).expand(len(rows), -1)
    length = before.shape[1]
    mask = segments.new_ones(len(rows), length + rows.shape[1])  # without one, equal positions would part the text
    if sharing == "fork":
        cache = new_cache(decoder.config)
        for_prefix = {"attention_mask": torch.ones_like(before[:, :, 0]).long(), "past_key_values": cache}
        decoder(inputs_embeds=before, position_ids=positions.expand(len(before), -1), use_cache=True, **for_prefix)
        fork(cache, images)
        output = decoder(
            inputs_embeds=rows, attention_mask=mask, position_ids=of_text, past_key_values=cache, use_cache=True
        )
        states = output.last_hidden_state
    else:
        whole = torch.cat([before[images], rows], dim=1)  # (R, P + M, H)
        own = torch.cat([positions.expand(len(rows), -1), of_text], dim=1)
        output = decoder(inputs_embeds=whole, attention_mask=mask, position_ids=own, use_cache=False)
        states = output.last_hidden_state[:, length:]
    row, column = (columns >= 0).nonzero(as_tuple=True)
    hidden: Tensor = states.new_zeros(*segments.shape, states.shape[-1])
    hidden[images[row], columns[row, column]] = states[row, column]
    return hidden


@torch.no_grad()
def find_sharing(decoder: Any, positions: Tensor, first: int) -> Sharing | None:
    """How a language model can read packed instructions; None if each way lets them read each other.

    It is tried with random embeddings in the precision of the weights, float32: a deep pretrained model differs by
    hundreds of roundings, which hide nothing, since a model that reads what it should not differs by far more.
    positions, first: as above, of `PROBED` tokens before the text.
    """
    weights = decoder.get_input_embeddings().weight
    prefix, *lengths = PROBED
    generator = torch.Generator().manual_seed(0)
    size = float(weights.float().std()) or 1.0
    embeds = size * torch.randn(1, sum(PROBED), weights.shape[1], generator=generator)
    before, text = torch.tensor_split(embeds.to(weights), (prefix,), dim=1)
    segments = torch.tensor([[number for number, one in enumerate(lengths, 1) for _ in range(one)]]).to(weights.device)
    rounded = 1 + ROUNDINGS * torch.finfo(weights.dtype).eps * torch.randn(embeds.shape, generator=generator)

    def alone(embeds: Tensor) -> Tensor:
        before, text = torch.tensor_split(embeds.to(weights), (prefix,), dim=1)
        return read_rows(decoder, before, text, segments, positions, first, "rows")

    expected = alone(embeds)
    tolerance = ROUNDINGS * _distance(alone(embeds * rounded), expected)

    def is_right(read: Callable[[], Tensor]) -> bool:
        try:
            found = read()
        except Exception as error:  # each architecture has its own way to refuse a cache
            logger.debug("%s: %s", type(decoder).__name__, error)
            return False
        return _distance(found, expected) <= tolerance

    if ignores_padding(new_cache(decoder.config)) and is_right(
        lambda: read_packed(decoder, before, text, segments, positions, first)
    ):
        return "mask"
    forked = is_right(lambda: read_rows(decoder, before, text, segments, positions, first, "fork"))
    return "fork" if forked else None


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).float().abs().max())
