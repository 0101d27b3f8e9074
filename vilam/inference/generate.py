"""Batched generation: one image prefix for all questions of an image, the key-value cache, constrained answers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from vilam.models.constraints import TokenGrammar, Walker
from vilam.models.tokenization import GroundingTokenizer
from vilam.models.vilam import VilamForConditionalGeneration

MAX_WORDS = 30
"""Longest free answer in tokens (the paper's captions: 30)."""


@dataclass(frozen=True, slots=True)
class Request:
    """A question on the ``image``-th image of the batch, and what may be answered; ``seed`` decides what is drawn."""

    image: int
    question: str
    grammar: TokenGrammar
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The words, their token ids, and the geometric mean of the tokens' probabilities among those allowed."""

    text: str
    ids: tuple[int, ...]
    confidence: float


@torch.no_grad()
def generate(
    model: VilamForConditionalGeneration,
    tokenizer: GroundingTokenizer,
    pixel_values: Tensor,
    requests: Sequence[Request],
    temperature: float = 0.0,
    max_words: int = MAX_WORDS,
) -> list[Answer]:
    """Answer all requests at once. pixel_values (B, 3, S, S); temperature 0 takes the likeliest allowed token.

    Above 0, tokens are drawn by each request's own seed: an answer does not depend on what else is in the batch.
    """
    if not requests:
        return []
    was_training = model.training
    model.eval()
    walkers = [Walker(request.grammar, max_words) for request in requests]
    dice = [np.random.default_rng(request.seed) for request in requests] if temperature > 0 else []
    # What an answer must begin with is read along with the question: its probability is 1 and it is not asked for.
    chosen: list[list[int]] = [walker.take_forced() for walker in walkers]
    totals = [0.0] * len(requests)
    alive = [i for i, walker in enumerate(walkers) if not walker.done]
    state = _Decoding(model, tokenizer, pixel_values, [(requests[i], chosen[i]) for i in alive]) if alive else None
    masks = _Masks()
    while state and alive:
        log_probs = torch.log_softmax(state.logits.float() + masks.of(alive, walkers, state.logits), dim=-1)
        tokens = _draw(log_probs, temperature, [dice[i].random() for i in alive]) if dice else log_probs.argmax(-1)
        scores = log_probs.gather(1, tokens.unsqueeze(1)).squeeze(1)
        for i, token, score in zip(alive, tokens.tolist(), scores.tolist(), strict=True):
            chosen[i].append(token)
            totals[i] += score
            walkers[i].advance(token)
        keep = [row for row, i in enumerate(alive) if not walkers[i].done]
        alive = [alive[row] for row in keep]
        if alive:
            state.advance(tokens, keep)
    model.train(was_training)
    means = [score / len(ids) for score, ids in zip(totals, chosen, strict=True)]
    return [
        Answer(tokenizer.decode_answer(ids), tuple(ids), float(torch.tensor(mean).exp()))
        for ids, mean in zip(chosen, means, strict=True)
    ]


class _Masks:
    """Masks of the next token, made once for all rows that stand at the same place of a grammar."""

    def __init__(self) -> None:
        self.made: dict[Hashable, Tensor] = {}

    def of(self, alive: Sequence[int], walkers: Sequence[Walker], logits: Tensor) -> Tensor:
        """0 for what the walkers that are alive allow, minus infinity elsewhere: (R, tokens), as the logits."""
        rows = [self._row(walkers[i], logits.shape[1]) for i in alive]
        return torch.stack(rows).to(logits.device)

    def _row(self, walker: Walker, size: int) -> Tensor:
        place = id(walker.grammar), walker.place
        if place not in self.made:
            self.made[place] = torch.full((size,), float("-inf"))
            self.made[place][walker.allowed()] = 0.0
        return self.made[place]


def _draw(log_probs: Tensor, temperature: float, numbers: Sequence[float]) -> Tensor:
    """The token of each row (R,) at which the distribution reaches its number in [0, 1)."""
    shares = torch.softmax(log_probs.double() / temperature, dim=-1).cumsum(dim=-1)
    wanted = torch.tensor(numbers, dtype=torch.float64, device=log_probs.device).unsqueeze(1) * shares[:, -1:]
    return torch.searchsorted(shares, wanted, right=True).squeeze(1)


class _Decoding:
    """The cache and the logits of the next token of every row that still runs."""

    def __init__(
        self,
        model: VilamForConditionalGeneration,
        tokenizer: GroundingTokenizer,
        pixel_values: Tensor,
        asked: Sequence[tuple[Request, Sequence[int]]],
    ) -> None:
        """``asked``: requests and what their answers begin with."""
        self.model = model
        device = pixel_values.device
        prefix = model.encode_images(pixel_values)
        self.cache = DynamicCache()
        image_positions, first = model.image_positions(prefix.shape[1])
        all_seen = torch.ones(prefix.shape[:2], dtype=torch.long, device=device)
        self._decode(prefix, all_seen, image_positions.expand(len(prefix), -1))
        images = torch.tensor([request.image for request, _ in asked], device=device)
        self.cache.batch_select_indices(images)
        self.prefix = prefix[images]
        self.keys = model.grounder.keys(prefix)[images] if model.grounder else None
        self.word_sums: Tensor | None = None

        questions = [[*tokenizer.encode_question(request.question), *begun] for request, begun in asked]
        length = max(map(len, questions))
        ids = torch.full((len(asked), length), tokenizer.pad_id)
        is_text = torch.zeros((len(asked), length), dtype=torch.long)
        for row, question in enumerate(questions):
            ids[row, length - len(question) :] = torch.tensor(question)
            is_text[row, length - len(question) :] = 1
        self.ids, self.is_text = ids.to(device), is_text.to(device)
        self.next_position = first + self.is_text.sum(1, keepdim=True)
        self.logits = self._read(first + (self.is_text.cumsum(1) - 1).clamp_min(0))

    def _read(self, positions: Tensor) -> Tensor:
        """Take the last N tokens at their positions (R, N) in; returns the logits (R, tokens) of the next token."""
        model, text = self.model, (self.ids, self.is_text)
        embeds = model.embed_text(self.prefix, *text, last=positions.shape[1])
        mask = torch.cat([self.is_text.new_ones(self.prefix.shape[:2]), self.is_text], dim=1)
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
        return self.model.grounder.look(hidden, pointed, self.prefix)

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
