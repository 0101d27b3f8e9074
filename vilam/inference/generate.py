"""Batched generation: a grammar constrains each answer, and each answer is sampled with its own seed."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vilam.inference.constraints import TokenGrammar, Walker
from vilam.inference.model import Model
from vilam.models.coordinate_formats import Bounds
from vilam.models.interface import ImageBatch

MAX_TOKENS = 30
"""Tokens of the longest free answer (the paper's captions: 30)."""


@dataclass(frozen=True, slots=True)
class Request:
    """A question about the ``image``-th image of a batch, the grammar of its answer, and the seed of its sampling."""

    image: int
    question: str
    grammar: TokenGrammar
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The text, its token ids, and the geometric mean of the tokens' probabilities among the allowed tokens.

    coordinates: the probability of each coordinate in the answer, in their order.
    """

    text: str
    ids: tuple[int, ...]
    confidence: float
    coordinates: tuple[float, ...] = ()

    @property
    def probability(self) -> float:
        """The probability of the whole answer among those that its grammar allows."""
        return float(self.confidence ** len(self.ids))


@torch.no_grad()
def generate(
    model: Model,
    images: ImageBatch,
    requests: Sequence[Request],
    temperature: float = 0.0,
    max_tokens: int = MAX_TOKENS,
) -> list[Answer]:
    """Answers all requests at once. images: as `GroundingModel.preprocess` returns them.

    Temperature 0 takes the most probable allowed token. Above 0, tokens are sampled with each request's own seed: an
    answer does not depend on the rest of the batch.
    """
    if not requests:
        return []
    network, tokenizer = model.network, model.tokenizer
    was_training = network.training
    network.eval()
    frames = network.frames(images)
    bounds = [tokenizer.coordinate_format.bounds(frames[request.image]) for request in requests]
    state = DecodingState(requests, bounds, temperature, max_tokens)
    network.generate(tokenizer, images, [(request.image, request.question) for request in requests], state)
    network.train(was_training)
    return [
        state.answer(index, tokenizer.decode_answer(state.ids[index], frames[request.image]))
        for index, request in enumerate(requests)
    ]


class DecodingState:
    """The answers so far, and the `Sampler` that chooses the next tokens among those that the grammars allow."""

    def __init__(
        self, requests: Sequence[Request], bounds: Sequence[Bounds], temperature: float, max_tokens: int
    ) -> None:
        pairs = zip(requests, bounds, strict=True)
        self.walkers = [Walker(request.grammar, max_tokens, image_bounds) for request, image_bounds in pairs]
        self.temperature = temperature
        self.rngs = [np.random.default_rng(request.seed) for request in requests] if temperature > 0 else []
        self.ids: list[list[int]] = [[] for _ in requests]
        self.log_probabilities = [0.0] * len(requests)
        self.coordinates: list[dict[int, float]] = [{} for _ in requests]
        self.alive = list(range(len(requests)))
        self.states: dict[Hashable, _State] = {}

    def begin(self) -> list[list[int]]:
        """The tokens with which the answers must begin: their probability is 1, so they need no decoding step."""
        self.ids = [walker.take_forced() for walker in self.walkers]
        self.alive = [i for i in self.alive if not self.walkers[i].done]
        return self.ids

    def choose(self, rows: Sequence[int], logits: Tensor) -> tuple[Tensor, list[int]]:
        """Tokens (R,) of these answers by their logits (R, tokens), and which of the R continue."""
        masks = torch.stack([self._state(i).mask(logits.shape[1]) for i in rows])
        log_probs = torch.log_softmax(logits.float() + masks.to(logits.device), dim=-1)
        if self.rngs:
            # A forced token takes no number: an answer is the same whether such tokens are decoded or not.
            is_free = ((masks == 0).sum(1) > 1).tolist()
            numbers = [self.rngs[i].random() if free else 0.0 for i, free in zip(rows, is_free, strict=True)]
            tokens = sample(log_probs, self.temperature, numbers)
        else:
            tokens = log_probs.argmax(-1)
        scores = log_probs.gather(1, tokens.unsqueeze(1)).squeeze(1)
        for i, token, score in zip(rows, tokens.tolist(), scores.tolist(), strict=True):
            self._append(i, token, score)
            self._end(i)
        self.alive = [i for i in self.alive if not self.walkers[i].done]
        return tokens, [row for row, i in enumerate(rows) if not self.walkers[i].done]

    def forced(self, rows: Sequence[int]) -> list[list[int]]:
        """The tokens with which these answers must go on: their probability is 1, so they need no step of their own."""
        return [self._take(i, self._forced(i)[0]) for i in rows]

    def _end(self, index: int) -> None:
        """End an answer if all that can follow is one text."""
        tokens, is_end = self._forced(index)
        if is_end:
            self._take(index, tokens)

    def _forced(self, index: int) -> tuple[list[int], bool]:
        """The tokens with which an answer must go on, and whether they end it."""
        walker = self.walkers[index]
        if walker.done or not self._state(index).is_forced:
            return [], False
        ahead = copy(walker)
        return ahead.take_forced(), ahead.done

    def _take(self, index: int, tokens: list[int]) -> list[int]:
        for token in tokens:
            self._append(index, token, 0.0)
        return tokens

    def answer(self, index: int, text: str) -> Answer:
        """An answer that has ended; the probability of a coordinate of several digits is that of all its digits."""
        ids = tuple(self.ids[index])
        confidence = float(torch.tensor(self.log_probabilities[index] / len(ids)).exp())
        return Answer(text, ids, confidence, tuple(map(math.exp, self.coordinates[index].values())))

    def _append(self, index: int, token: int, score: float) -> None:
        self.ids[index].append(token)
        self.log_probabilities[index] += score
        if (coordinate := self.walkers[index].coordinate) is not None:
            known = self.coordinates[index]
            known[coordinate] = known.get(coordinate, 0.0) + score
        self.walkers[index].advance(token)

    def _state(self, index: int) -> _State:
        """The state of an answer's walker, shared by all answers that are in it."""
        walker = self.walkers[index]
        key = id(walker.grammar), walker.state
        if key not in self.states:
            self.states[key] = _State(walker)
        return self.states[key]


class _State:
    """What may follow in one state of the walkers, found once."""

    def __init__(self, walker: Walker) -> None:
        self.is_forced = walker.only is not None
        self.allowed = walker.allowed()
        self._mask: Tensor | None = None

    def mask(self, size: int) -> Tensor:
        """0 for the tokens that are allowed, minus infinity elsewhere: (tokens,)."""
        if self._mask is None:
            self._mask = torch.full((size,), float("-inf"))
            self._mask[self.allowed] = 0.0
        return self._mask


def sample(log_probs: Tensor, temperature: float, numbers: Sequence[float]) -> Tensor:
    """The token of each row (R,) at which the cumulative distribution of (R, tokens) reaches its number in [0, 1)."""
    cumulative = torch.softmax(log_probs.double() / temperature, dim=-1).cumsum(dim=-1)
    wanted = torch.tensor(numbers, dtype=torch.float64, device=log_probs.device).unsqueeze(1) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, wanted, right=True).squeeze(1)
