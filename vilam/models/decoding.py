"""Decoding with one image prefix for all questions of a picture, and a key-value cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DynamicCache

if TYPE_CHECKING:
    from vilam.models.vilam import VilamForConditionalGeneration


class Decoding:
    """The cache and the logits of the next token of every row that still runs."""

    def __init__(
        self,
        model: VilamForConditionalGeneration,
        pixel_values: Tensor,
        asked: Sequence[tuple[int, Sequence[int]]],
        pad_id: int,
    ) -> None:
        """``asked``: numbers of the pictures and token ids of what is read about them."""
        self.model = model
        device = pixel_values.device
        prefix = model.encode_images(pixel_values)
        self.cache = DynamicCache()
        before = model.before_text(prefix)
        positions, first = model.image_positions(before.shape[1])
        self.num_before = before.shape[1]
        all_seen = torch.ones(before.shape[:2], dtype=torch.long, device=device)
        self._decode(before, all_seen, positions.expand(len(prefix), -1))
        images = torch.tensor([image for image, _ in asked], device=device)
        self.cache.batch_select_indices(images)
        self.prefix = prefix[images]
        self.keys = model.grounder.keys(prefix)[images] if model.grounder else None
        self.word_sums: Tensor | None = None

        length = max(len(text) for _, text in asked)
        ids = torch.full((len(asked), length), pad_id)
        is_text = torch.zeros((len(asked), length), dtype=torch.long)
        for row, (_, text) in enumerate(asked):
            ids[row, length - len(text) :] = torch.tensor(text)
            is_text[row, length - len(text) :] = 1
        self.ids, self.is_text = ids.to(device), is_text.to(device)
        self.next_position = first + self.is_text.sum(1, keepdim=True)
        self.logits = self._read(first + (self.is_text.cumsum(1) - 1).clamp_min(0))

    def _read(self, positions: Tensor) -> Tensor:
        """Take the last N tokens at their positions (R, N) in; returns the logits (R, tokens) of the next token."""
        model, text = self.model, (self.ids, self.is_text)
        embeds = model.embed_text(self.prefix, *text, last=positions.shape[1])
        mask = torch.cat([self.is_text.new_ones(len(self.is_text), self.num_before), self.is_text], dim=1)
        hidden = self._ground(self._decode(embeds, mask, positions)[:, -1:], positions.shape[1])
        return model.score(hidden[:, 0])

    def _ground(self, hidden: Tensor, last: int) -> Tensor:
        """The last hidden states (R, 1, hidden) with what the text so far points at; ``last`` tokens of it are new."""
        if self.model.grounder is None or self.keys is None:
            return hidden
        new = self.model.word_sums(self.ids[:, -last:], self.is_text[:, -last:])
        self.word_sums = new if self.word_sums is None else self.word_sums + new
        means = (self.word_sums[:, :-1] / self.word_sums[:, -1:].clamp_min(1)).unsqueeze(1)
        words = self.model.get_input_embeddings().weight.dtype
        pointed = self.model.grounder.point(hidden, means.to(words), self.keys)
        return self.model.look(hidden, pointed, self.prefix, self.ids, self.is_text)

    def _decode(self, embeds: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Hidden states (R, N, hidden) of new tokens, which join the cache."""
        output = self.model.language.get_decoder()(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        return output.last_hidden_state  # type: ignore[no-any-return]

    def advance(self, tokens: Tensor, keep: list[int]) -> None:
        """Feed the chosen tokens of the rows to keep; the others are dropped."""
        rows = torch.tensor(keep, device=tokens.device)
        if len(keep) < len(tokens):
            self.cache.batch_select_indices(rows)
            self.prefix = self.prefix[rows]
            self.keys = None if self.keys is None else self.keys[rows]
            self.word_sums = None if self.word_sums is None else self.word_sums[rows]
        self.ids = torch.cat([self.ids[rows], tokens[rows].unsqueeze(1)], dim=1)
        self.is_text = torch.cat([self.is_text[rows], self.is_text.new_ones(len(keep), 1)], dim=1)
        position = self.next_position[rows]
        self.logits = self._read(position)
        self.next_position = position + 1
