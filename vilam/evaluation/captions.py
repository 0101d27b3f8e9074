"""CIDEr-D of generated expressions against reference expressions."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

NGRAM_SIZES = 4
LENGTH_SIGMA = 6.0

Ngrams = Counter[tuple[str, ...]]


def words(text: str) -> list[str]:
    """Lower-case words and numbers of a text, without punctuation: the tokens of CIDEr and of exact match."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower())


def cider(
    candidates: Sequence[str], references: Sequence[Sequence[str]], documents: Sequence[Sequence[str]]
) -> list[float]:
    """CIDEr-D of each candidate against its references, 0..10 each.

    Source: Vedantam et al., "CIDEr" (2015) in the form of the COCO caption evaluation (``CiderScorer`` of
    pycocoevalcap): n-grams of 1 to 4 words, counts clipped to the reference's, a Gaussian penalty with sigma 6 on
    the difference in length, the mean over n and over references, times 10. Deviation: ``words`` splits the texts
    instead of the Penn Treebank tokeniser, which needs Java.

    references: the accepted texts of each candidate, one at least. documents: the references of each evaluated
    region once; they give the document frequencies. An expression of fewer than four words has no 4-grams and cannot
    reach 10, in the official scorer either.
    """
    frequencies = Counter(ngram for texts in documents for ngram in set().union(*map(_ngrams, texts)))
    weigh = _Weights(frequencies, math.log(max(len(documents), 1)))
    return [_score(weigh, candidate, texts) for candidate, texts in zip(candidates, references, strict=True)]


@dataclass(frozen=True, slots=True)
class _Weights:
    """Inverse document frequencies: n-grams that are common to many regions weigh little."""

    frequencies: Ngrams
    log_documents: float

    def __call__(self, ngrams: Ngrams, size: int) -> dict[tuple[str, ...], float]:
        return {
            ngram: count * (self.log_documents - math.log(max(1, self.frequencies[ngram])))
            for ngram, count in ngrams.items()
            if len(ngram) == size
        }


def _ngrams(text: str) -> Ngrams:
    tokens = words(text)
    return Counter(
        tuple(tokens[start : start + size])
        for size in range(1, NGRAM_SIZES + 1)
        for start in range(len(tokens) - size + 1)
    )


def _score(weigh: _Weights, candidate: str, references: Sequence[str]) -> float:
    similarities = [_similarity(weigh, candidate, reference) for reference in references]
    return 10 * sum(similarities) / len(similarities)


def _similarity(weigh: _Weights, candidate: str, reference: str) -> float:
    gap = len(words(candidate)) - len(words(reference))
    penalty = math.exp(-(gap**2) / (2 * LENGTH_SIGMA**2))
    ours, theirs = _ngrams(candidate), _ngrams(reference)
    cosines = (_clipped_cosine(weigh(ours, size), weigh(theirs, size)) for size in range(1, NGRAM_SIZES + 1))
    return penalty * sum(cosines) / NGRAM_SIZES


def _clipped_cosine(ours: dict[tuple[str, ...], float], theirs: dict[tuple[str, ...], float]) -> float:
    norm = math.hypot(*ours.values()) * math.hypot(*theirs.values())
    product = sum(min(weight, theirs[ngram]) * theirs[ngram] for ngram, weight in ours.items() if ngram in theirs)
    return product / norm if norm else 0.0
