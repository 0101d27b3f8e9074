"""Batched generation: every answer is held to its grammar, and drawn by a seed of its own."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vilam.models.constraints import TokenGrammar, Walker
from vilam.models.conventions import Bounds
from vilam.models.family import GroundingModel, Pictures, Tokens

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
    """The words, their token ids, and the geometric mean of the tokens' probabilities among those allowed.

    coordinates: the probability of each coordinate that the answer names, in their order.
    """

    text: str
    ids: tuple[int, ...]
    confidence: float
    coordinates: tuple[float, ...] = ()

    @property
    def probability(self) -> float:
        """Of the whole answer among those that its grammar allows."""
        return float(self.confidence ** len(self.ids))


@torch.no_grad()
def generate(
    model: GroundingModel,
    tokenizer: Tokens,
    pictures: Pictures,
    requests: Sequence[Request],
    temperature: float = 0.0,
    max_words: int = MAX_WORDS,
) -> list[Answer]:
    """Answer all requests at once. pictures: as the model sees them; temperature 0 takes the likeliest allowed token.

    Above 0, tokens are drawn by each request's own seed: an answer does not depend on what else is in the batch.
    """
    if not requests:
        return []
    was_training = model.training
    model.eval()
    frames = model.frames(pictures)
    bounds = [tokenizer.convention.bounds(frames[request.image]) for request in requests]
    speech = _Speech(requests, bounds, temperature, max_words)
    model.speak(tokenizer, pictures, [(request.image, request.question) for request in requests], speech)
    model.train(was_training)
    return [
        Answer(tokenizer.decode_answer(ids, frames[request.image]), tuple(ids), confidence, coordinates)
        for request, ids, confidence, coordinates in zip(
            requests, speech.chosen, speech.confidences(), speech.coordinates(), strict=True
        )
    ]


class _Speech:
    """The answers so far: it chooses their next tokens among those that their grammars allow."""

    def __init__(
        self, requests: Sequence[Request], bounds: Sequence[Bounds], temperature: float, max_words: int
    ) -> None:
        pairs = zip(requests, bounds, strict=True)
        self.walkers = [Walker(request.grammar, max_words, picture) for request, picture in pairs]
        self.temperature = temperature
        self.dice = [np.random.default_rng(request.seed) for request in requests] if temperature > 0 else []
        self.chosen: list[list[int]] = [[] for _ in requests]
        self.totals = [0.0] * len(requests)
        self.named: list[dict[int, float]] = [{} for _ in requests]
        self.alive = list(range(len(requests)))
        self.masks = _Masks()

    def begin(self) -> list[list[int]]:
        """What the answers must begin with: its probability is 1, so it can be read along with the question."""
        self.chosen = [walker.take_forced() for walker in self.walkers]
        self.alive = [i for i in self.alive if not self.walkers[i].done]
        return self.chosen

    def choose(self, rows: Sequence[int], logits: Tensor) -> tuple[Tensor, list[int]]:
        """Tokens (R,) of these answers by their logits (R, tokens), and which of the R go on."""
        allowed = self.masks.of(rows, self.walkers, logits)
        log_probs = torch.log_softmax(logits.float() + allowed, dim=-1)
        tokens = self._drawn(rows, log_probs) if self.dice else log_probs.argmax(-1)
        scores = log_probs.gather(1, tokens.unsqueeze(1)).squeeze(1)
        for i, token, score in zip(rows, tokens.tolist(), scores.tolist(), strict=True):
            self.chosen[i].append(token)
            self.totals[i] += score
            if (coordinate := self.walkers[i].coordinate) is not None:
                self.named[i][coordinate] = self.named[i].get(coordinate, 0.0) + score
            self.walkers[i].advance(token)
        self.alive = [i for i in self.alive if not self.walkers[i].done]
        return tokens, [row for row, i in enumerate(rows) if not self.walkers[i].done]

    def confidences(self) -> list[float]:
        """The geometric mean of the probabilities of each answer's tokens."""
        means = [score / len(ids) for score, ids in zip(self.totals, self.chosen, strict=True)]
        return [float(torch.tensor(mean).exp()) for mean in means]

    def coordinates(self) -> list[tuple[float, ...]]:
        """The probability of each coordinate of each answer: of a coordinate of digits, that of all of them."""
        return [tuple(math.exp(total) for total in named.values()) for named in self.named]

    def _drawn(self, rows: Sequence[int], log_probs: Tensor) -> Tensor:
        return _draw(log_probs, self.temperature, [self.dice[i].random() for i in rows])


class _Masks:
    """Masks of the next token, made once for all rows that stand at the same place of a grammar."""

    def __init__(self) -> None:
        self.made: dict[Hashable, Tensor] = {}

    def of(self, rows: Sequence[int], walkers: Sequence[Walker], logits: Tensor) -> Tensor:
        """0 for what these walkers allow, minus infinity elsewhere: (R, tokens), as the logits."""
        masks = [self._row(walkers[i], logits.shape[1]) for i in rows]
        return torch.stack(masks).to(logits.device)

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
