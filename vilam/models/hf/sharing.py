"""Several questions behind one picture: the picture is read once, and its cache is forked to a row for each question.

A model type is admitted by its convention (``sharing: fork``) after its logits and gradients were compared with those
of a row for each question (tests/models/hf/test_sharing.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vilam.models.forking import fork, ignores_padding, make_room, new_cache, positions
from vilam.models.hf.rows import OF_TEXT, padded, value_at_answers
from vilam.models.hf.tokenizer import Prompt
from vilam.models.interface import Sampler
from vilam.models.packing import by_length, packed_mask, packed_offsets

OF_POSITIONS = (
    "input_ids",
    "inputs_embeds",
    "image_grid_thw",
    "video_grid_thw",
    "attention_mask",
    "past_key_values",
    "mm_token_type_ids",
)
"""What the positions of a picture's tokens are counted from."""


class Reading:
    """A model that has read the heads of B pictures and continues them in R rows.

    Shapes: P tokens of the heads, which are padded on the left, L new tokens of each row, V tokens of the vocabulary.
    """

    def __init__(self, vlm: Any, heads: Prompt, rows: Tensor) -> None:
        """Read the heads; rows (R,): the picture of each row."""
        self.vlm, self.cache = vlm, new_cache(vlm.config.get_text_config())
        self._settings = inspect.signature(vlm.forward).parameters.keys()
        self._counts_by_itself = hasattr(vlm.base_model, "rope_deltas")  # positions in time, height and width
        mask = heads["attention_mask"]
        places = {} if self._counts_by_itself else self._places(mask, 0)
        vlm(**heads, **places, **self._last(1), past_key_values=self.cache, use_cache=True)
        fork(self.cache, rows)
        self.mask = mask[rows]
        self.deltas = vlm.base_model.rope_deltas.to(rows.device)[rows] if self._counts_by_itself else None

    def _last(self, kept: int) -> dict[str, int]:
        return {"logits_to_keep": kept} if "logits_to_keep" in self._settings else {}

    def _places(self, mask: Tensor, start: int) -> dict[str, Tensor]:
        if "position_ids" not in self._settings:
            return {}
        deltas = self.deltas if self._counts_by_itself else None
        return {"position_ids": positions(mask, deltas, _axes(self.vlm))[..., start:]}

    def read(self, ids: Tensor, mask: Tensor, kept: int = 1) -> Tensor:
        """Logits (R, K, V) of the token after each of the last K of new tokens (R, L).

        The mask (R, L) is 0 at padding.
        """
        start = self.mask.shape[1]
        self.mask = torch.cat([self.mask, mask.to(self.mask)], dim=1)
        places = self._places(self.mask, start)
        output = self.vlm(
            input_ids=ids,
            attention_mask=self.mask,
            **places,
            **self._last(kept),
            past_key_values=self.cache,
            use_cache=True,
        )
        logits: Tensor = output.logits[:, -kept:]
        return logits

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the rows only."""
        fork(self.cache, rows)
        self.mask = self.mask[rows]
        self.deltas = None if self.deltas is None else self.deltas[rows]


def read_masked(vlm: Any, heads: Prompt, tails: Tensor, segments: Tensor) -> Tensor:
    """Logits (B, T, V) of the token after each of the tails (B, T) of B pictures, all in one sequence.

    segments (B, T): the number of each token's tail in its row, 1 upwards, 0 for padding. No cache is needed, so that
    layers can be computed again in the backward pass; only attention that looks at all tokens keeps to the mask.
    """
    is_head = heads["attention_mask"]  # (B, P)
    length = is_head.shape[1]
    whole = {name: value for name, value in heads.items() if name not in OF_TEXT}
    for name in OF_TEXT & heads.keys() - {"attention_mask"}:
        ends = tails if name == "input_ids" else torch.full_like(tails, value_at_answers(name, heads[name]))
        whole[name] = torch.cat([heads[name], ends], dim=1)  # (B, P + T)
    own, deltas = positions(is_head), None
    if hasattr(vlm.base_model, "rope_deltas"):
        count = vlm.base_model.compute_3d_position_ids
        wanted = inspect.signature(count).parameters
        own = count(**{name: heads.get(name) for name in OF_POSITIONS if name in wanted})  # (A, B, P)
        deltas = vlm.base_model.rope_deltas.to(tails.device)
    following = packed_offsets(segments) + is_head.sum(1, keepdim=True)
    behind = following if deltas is None else (following + deltas).expand(_axes(vlm), -1, -1)
    dtype = vlm.get_input_embeddings().weight.dtype
    mask = packed_mask(segments, length, dtype)
    mask[..., :length] = mask[..., :length].masked_fill(is_head[:, None, None, :] == 0, torch.finfo(dtype).min)
    output = vlm(
        **whole,
        attention_mask=mask,
        position_ids=torch.cat([own, behind], dim=-1),
        use_cache=False,
        logits_to_keep=tails.shape[1],
    )
    logits: Tensor = output.logits
    return logits


def _axes(vlm: Any) -> int:
    """The axes of a picture's positions: time, height and width; HunyuanVL has one more."""
    rope = vlm.config.get_text_config().rope_parameters
    return max(3, len(rope.get("mrope_section", ())))


def groups(tails: Sequence[Sequence[int]], config: Any) -> list[list[int]]:
    """The rows that are decoded together: those of one length each if padding before their tails would be read."""
    return [[*range(len(tails))]] if ignores_padding(new_cache(config)) else by_length(tails)


def decode(
    reading: Reading, numbers: Sequence[int], tails: Sequence[Sequence[int]], pad_id: int, sampler: Sampler
) -> None:
    """Answers questions, whose numbers the sampler knows, behind their tails; rows that have ended leave the cache.

    What must follow a token is read with it, if padding between the rows' tokens changes nothing.
    """
    make_room(reading.cache)
    device = reading.mask.device
    ids, mask = _on_the_right(tails, pad_id, device)
    alive = list(numbers)
    while True:
        chosen, keep = sampler.choose(alive, reading.read(ids, mask)[:, -1])
        if not keep:
            return
        if len(keep) < len(alive):
            rows = torch.tensor(keep, device=device)
            reading.keep(rows)
            chosen, alive = chosen[rows], [alive[row] for row in keep]
        following = sampler.forced(alive) if ignores_padding(reading.cache) else [[] for _ in alive]
        texts = [[token, *after] for token, after in zip(chosen.tolist(), following, strict=True)]
        ids, mask = _on_the_right(texts, pad_id, device)


def _on_the_right(texts: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Texts (R, L), padded on the left, and 1 at their tokens (R, L)."""
    mask = padded([[1] * len(each) for each in texts], 0, "left")
    return padded(texts, pad_id, "left").to(device), mask.to(device)
