"""Decoding with one image prefix for all questions about an image, and a key-value cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vilam.models.forking import fork, make_room, new_cache
from vilam.models.vilam.core import VilamModel
from vilam.models.vilam.text import PackedText

KEPT = 0.75
"""Rows that have ended leave the cache, which is copied for it, when no more than this share of its rows goes on."""


class Decoding:
    """The cache, and ``logits`` (R, V) of the next token of the R rows that have not ended.

    The cache may still have some rows that have ended: see `KEPT`.
    """

    def __init__(
        self, model: VilamModel, pixel_values: Tensor, rows: Sequence[tuple[int, Sequence[int]]], pad_id: int
    ) -> None:
        """Reads the images and the rows: the number of an image, and the token ids of a text about it."""
        self.model, self.pad_id = model, pad_id
        device = model.device
        prefix = model.encode_images(pixel_values)  # (B, P, H)
        self.cache = new_cache(model.language.get_decoder().config)
        before = model.before_text(prefix)
        positions, first = model.image_positions(before.shape[1])
        self.num_before = before.shape[1]
        everything = torch.ones(before.shape[:2], dtype=torch.long, device=device)
        self._decode(before, everything, positions.expand(len(prefix), -1))
        images = torch.tensor([image for image, _ in rows], device=device)
        fork(self.cache, images)
        make_room(self.cache)
        self.active = torch.arange(len(rows), device=device)  # rows of the cache that have not ended
        self.prefix = prefix[images]  # (R, P, H)
        self.keys = model.grounder.keys(prefix)[images] if model.grounder else None  # (R, P, H)
        self.word_sums: Tensor | None = None

        length = max(len(ids) for _, ids in rows)
        input_ids = torch.full((len(rows), length), pad_id)
        is_text = torch.zeros((len(rows), length), dtype=torch.long)
        for row, (_, ids) in enumerate(rows):
            input_ids[row, length - len(ids) :] = torch.tensor(ids)
            is_text[row, length - len(ids) :] = 1
        self.text = PackedText(input_ids.to(device), is_text.to(device))  # one instruction a row, padded on the left
        is_text = self.text.segments
        self.next_position = first + is_text.sum(1, keepdim=True)
        self.logits = self._read(first + (is_text.cumsum(1) - 1).clamp_min(0))

    def _read(self, positions: Tensor) -> Tensor:
        """Feeds the last N tokens at their positions (R, N); returns the logits (R, V) of the next token."""
        is_text = self.text.segments
        embeds = self.model.embed_text(self.prefix, self.text, last=positions.shape[1])
        mask = torch.cat([is_text.new_ones(len(is_text), self.num_before), is_text], dim=1)
        hidden = self._ground(self._decode(embeds, mask, positions)[:, -1:], positions.shape[1])
        return self.model.score(hidden[self.active, 0])

    def _ground(self, hidden: Tensor, last: int) -> Tensor:
        """The last state (R, 1, H) with the image tokens at which the text points; its ``last`` tokens are new."""
        if self.model.grounder is None or self.keys is None:
            return hidden
        new = self._word_sums(last)
        self.word_sums = new if self.word_sums is None else self.word_sums + new
        means = (self.word_sums[:, :-1] / self.word_sums[:, -1:].clamp_min(1)).unsqueeze(1)
        dtype = self.model.get_input_embeddings().weight.dtype
        pointed = self.model.grounder.point(hidden, means.to(dtype), self.keys)
        return self.model.attend(hidden, pointed, self.prefix, self.text)

    def _word_sums(self, last: int) -> Tensor:
        """The sum of the word embeddings among the last tokens, and their number: (R, H + 1)."""
        text = PackedText(self.text.input_ids[:, -last:], self.text.segments[:, -last:])
        words, is_word = self.model.embed_words(text)
        counts = is_word.unsqueeze(-1).float()
        return torch.cat([words.float() * counts, counts], dim=-1).sum(1)

    def _decode(self, embeds: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """States (R, N, H) of new tokens, which are added to the cache."""
        output = self.model.language.get_decoder()(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        return output.last_hidden_state  # type: ignore[no-any-return]

    def advance(self, tokens: Tensor, keep: list[int]) -> None:
        """Feeds the chosen tokens (R,) of the rows to keep; the other rows have ended."""
        kept = torch.tensor(keep, device=tokens.device)
        self.active, tokens = self.active[kept], tokens[kept]
        if len(self.active) <= KEPT * len(self.prefix):
            self._drop_ended()
        new = tokens.new_full((len(self.prefix), 1), self.pad_id)
        new[self.active, 0] = tokens
        self.text = PackedText(
            torch.cat([self.text.input_ids, new], dim=1),
            nn.functional.pad(self.text.segments, (0, 1), value=1),
        )
        self.logits = self._read(self.next_position)
        self.next_position = self.next_position + 1

    def _drop_ended(self) -> None:
        rows = self.active
        fork(self.cache, rows)
        self.prefix = self.prefix[rows]
        self.keys = None if self.keys is None else self.keys[rows]
        self.word_sums = None if self.word_sums is None else self.word_sums[rows]
        self.text = PackedText(self.text.input_ids[rows], self.text.segments[rows])
        self.next_position = self.next_position[rows]
        self.active = torch.arange(len(rows), device=rows.device)
